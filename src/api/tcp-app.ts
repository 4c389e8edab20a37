/** What is answered over TCP: `GET /livez`, `/readyz`, `/healthz`, `/metrics` and the web page. */
import type { Server } from 'node:http';
import { realClock } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import { renderMetrics } from '../metrics/prometheus.ts';
import { RuntimeMetrics } from '../metrics/runtime.ts';
import { METRICS_TYPE } from '../metrics/text.ts';
import { type Health, healthOf } from '../readmodel/health.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import { newApp } from './app.ts';
import type { LoadedApp } from './late-server.ts';
import type { PageAccess } from './page-access.ts';
import { type PageRoutesOptions, pageRoutes } from './page-routes.ts';

export async function tcpApp(options: {
  readonly server: Server;
  readonly model: ReadModel;
  readonly page: PageAccess;
  readonly links?: PageRoutesOptions['links'];
  /** Nobody has chosen this address: there are no metrics, which have names. */
  readonly isAuto: boolean;
  readonly log: Logger;
}): Promise<LoadedApp> {
  const { server, model, page, links, isAuto, log } = options;
  const app = newApp(server, log);
  const answer = (path: string, reasonsOf: (health: Health) => readonly string[]) => {
    app.get(path, async (_request, reply) => {
      const reasons = reasonsOf(healthOf(model.status()));
      reply.type('text/plain; charset=utf-8');
      if (reasons.length === 0) return 'ok\n';
      reply.code(503);
      return reasons.map((reason) => `${reason}\n`).join('');
    });
  };
  answer('/livez', ({ live }) => live);
  answer('/readyz', ({ ready }) => ready);
  answer('/healthz', ({ live, ready }) => [...live, ...ready]);
  let runtime: RuntimeMetrics | undefined;
  app.get('/metrics', async (_request, reply) => {
    if (isAuto) throw noMetrics();
    runtime ??= new RuntimeMetrics(realClock);
    reply.type(METRICS_TYPE);
    return renderMetrics(model.status(), model.peers()) + runtime.render();
  });
  const close = pageRoutes(app, { model, access: page, links, log });
  await app.ready();
  return {
    handle: app.routing,
    close: () => {
      close();
      runtime?.close();
    },
  };
}

function noMetrics(): WarrenError {
  return new WarrenError('NOT_FOUND', 'there are no metrics where api.listen is auto', {
    hint: 'They name nodes, and whoever is on this host can read them: write `api: {listen: 127.0.0.1:7947}` into the configuration if that may be.',
  });
}
