/** What may be read over TCP at `api.listen`: health, metrics and the web page, nothing that changes. */
import { createServer, type Server } from 'node:http';
import { errorMessage, WarrenError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { Commands } from './commands.ts';
import { serveLate } from './late-server.ts';
import { PageAccess, type TlsFiles } from './page-access.ts';
import type { ApiServer } from './server.ts';

const MAX_CONNECTIONS = 64;
/** For who asks for health and metrics alone. */
const NO_PAGE = new PageAccess({ listen: undefined, tls: undefined, token: undefined });

export interface TcpApi extends ApiServer {
  /** The port that was bound; the one asked for, unless that was 0. */
  readonly port: number;
}

/**
 * Serves `GET /livez`, `/readyz` and `/healthz` (200, or 503 with the reasons; readmodel/health.ts) and `GET /metrics`, and the web page
 * (page-routes.ts). With `tls` all of it over TLS.
 * Throws API_LISTEN_FAILED.
 */
export async function startTcpApi(options: {
  readonly listen: HostPort;
  readonly model: ReadModel;
  /** Undefined: there is none. */
  readonly page: PageAccess | undefined;
  /** What goes between any two nodes, for the web page; absent: it shows this node's links alone. */
  readonly links?: Commands['links'] | undefined;
  readonly tls?: TlsFiles | undefined;
  /** Nobody has chosen this address. */
  readonly isAuto?: boolean;
  readonly log: Logger;
}): Promise<TcpApi> {
  const { listen, model, page = NO_PAGE, links, tls, isAuto = false, log } = options;
  const server = tls === undefined ? createServer() : await secureServer(tls);
  const api = serveLate(
    server,
    MAX_CONNECTIONS,
    async () => {
      const { tcpApp } = await import('./apps.ts');
      return tcpApp({ server, model, page, links, isAuto, log });
    },
    (error) => log.error({ err: error }, 'the health and metrics API cannot be loaded'),
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const where = formatHostPort(listen);
      reject(
        new WarrenError('API_LISTEN_FAILED', `cannot listen on api.listen, ${where}: ${reason(error)}`, {
          hint: 'Choose another address or port in api.listen, or remove it.',
          cause: error,
        }),
      );
    });
    server.listen(listen.port, listen.host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : listen.port,
    close: () => api.close(),
  };
}

/** Of the same shape; loaded where it is asked for. */
async function secureServer(tls: TlsFiles): Promise<Server> {
  const { createServer } = await import('node:https');
  try {
    return createServer({ ...tls, minVersion: 'TLSv1.2' }) as unknown as Server;
  } catch (error) {
    throw new WarrenError('API_TLS_FILES', `api.tls: ${errorMessage(error)}`, {
      hint: 'The key must be the one that the certificate was made for.',
      cause: error,
    });
  }
}

function reason(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EADDRINUSE':
      return 'another program listens there';
    case 'EADDRNOTAVAIL':
      return 'this host does not have that address';
    case 'EACCES':
      return 'permission denied';
    default:
      return errorMessage(error);
  }
}
