/** What may be read over TCP where `api.listen` asks for it: health and metrics, nothing that changes. */
import { createServer } from 'node:http';
import { errorMessage, WarrenError } from '../errors.ts';
import { formatHostPort, type HostPort } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import { METRICS_TYPE, renderMetrics } from '../metrics/prometheus.ts';
import type { AgentView } from './agent-view.ts';
import { type Answer, type ApiRequest, serve } from './http.ts';
import { type ApiServer, closeServer } from './server.ts';

export interface TcpApi extends ApiServer {
  /** The port that was bound; the one asked for, unless that was 0. */
  readonly port: number;
}

/**
 * Serves `GET /healthz` (200 once this node has its subnet, 503 before) and `GET /metrics`.
 * Throws API_LISTEN_FAILED.
 */
export async function startTcpApi(options: {
  readonly listen: HostPort;
  readonly view: Pick<AgentView, 'status' | 'peers'>;
  readonly log: Logger;
}): Promise<TcpApi> {
  const { listen, view, log } = options;
  const server = createServer();
  serve(
    server,
    async (request) => route(view, request),
    (error) => log.error({ err: error }, 'the health and metrics API failed'),
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
    close: () => closeServer(server),
  };
}

function route(view: Pick<AgentView, 'status' | 'peers'>, request: ApiRequest): Answer {
  const name = request.path.join('/');
  if (name !== 'healthz' && name !== 'metrics') {
    throw new WarrenError('NOT_FOUND', 'there are /healthz and /metrics here');
  }
  if (request.method !== 'GET')
    throw new WarrenError('METHOD_NOT_ALLOWED', `only GET is possible on /${name}`);
  const status = view.status();
  if (name === 'metrics') return { type: METRICS_TYPE, text: renderMetrics(status, view.peers()) };
  const isHealthy = status.lease.status === 'active';
  return { status: isHealthy ? 200 : 503, text: isHealthy ? 'ok\n' : `lease ${status.lease.status}\n` };
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
