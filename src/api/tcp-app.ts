/** What is answered over TCP: `GET /healthz` and `GET /metrics`. */
import type { Server } from 'node:http';
import type { Logger } from '../log/logger.ts';
import { METRICS_TYPE, renderMetrics } from '../metrics/prometheus.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import { newApp } from './app.ts';
import type { LoadedApp } from './late-server.ts';

export async function tcpApp(options: {
  readonly server: Server;
  readonly model: ReadModel;
  readonly log: Logger;
}): Promise<LoadedApp> {
  const { server, model, log } = options;
  const app = newApp(server, log);
  app.get('/healthz', async (_request, reply) => {
    const { status } = model.status().lease;
    reply.type('text/plain; charset=utf-8');
    if (status === 'active') return 'ok\n';
    reply.code(503);
    return `lease ${status}\n`;
  });
  app.get('/metrics', async (_request, reply) => {
    reply.type(METRICS_TYPE);
    return renderMetrics(model.status(), model.peers());
  });
  await app.ready();
  return { handle: app.routing, close: () => {} };
}
