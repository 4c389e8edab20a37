/** What may be read over TCP where `api.listen` asks for it: health and metrics, nothing that changes. */
import { createServer } from 'node:http';
import { errorMessage, WarrenError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import { serveLate } from './late-server.ts';
import type { ApiServer } from './server.ts';

const MAX_CONNECTIONS = 64;

export interface TcpApi extends ApiServer {
  /** The port that was bound; the one asked for, unless that was 0. */
  readonly port: number;
}

/**
 * Serves `GET /livez`, `/readyz` and `/healthz` (200, or 503 with the reasons; readmodel/health.ts) and `GET /metrics`.
 * Throws API_LISTEN_FAILED.
 */
export async function startTcpApi(options: {
  readonly listen: HostPort;
  readonly model: ReadModel;
  readonly log: Logger;
}): Promise<TcpApi> {
  const { listen, model, log } = options;
  const server = createServer();
  const api = serveLate(
    server,
    MAX_CONNECTIONS,
    async () => {
      const { tcpApp } = await import('./apps.ts');
      return tcpApp({ server, model, log });
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
