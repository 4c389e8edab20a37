/**
 * The web page, for reading alone:
 *
 *     GET /ui/                    the page; its files are /ui/assets/…
 *     GET /ui/api/session         whether the token that was sent counts, and whether names are shown
 *     GET /ui/api/watch?topics=status,peers&interval=2    as on the control sockets (watch-stream.ts)
 *     GET /ui/api/history?after=N rates of the last 15 minutes, from sample N on
 *
 *     GET /ui/api/links           what goes between any two nodes; with a token only, since all of them are asked
 *
 * A token goes in the header `Authorization: Bearer TOKEN`, never in an address.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { realClock } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import { packageFile } from '../package.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { LinkReport } from '../readmodel/reports.ts';
import { z } from '../zod.ts';
import { historyRequest } from './control-app.ts';
import type { PageAccess } from './page-access.ts';
import { PageFiles } from './page-files.ts';
import { redacted } from './redaction.ts';
import { WatchStreams } from './watch-stream.ts';

/** What the page shows; the others are this host's own affairs. */
const PAGE_TOPICS = ['status', 'peers', 'inventory', 'leases', 'events'] as const;

/** Of those who come without a token, who may be anybody on the host: each costs the agent some work. */
const MAX_HIDDEN_STREAMS = 8;
const LEAST_HIDDEN_INTERVAL_SECONDS = 2;

const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

const watchRequest = z
  .strictObject({
    topics: z
      .string()
      .transform((text) => [...new Set(text.split(','))])
      .pipe(z.array(z.enum(PAGE_TOPICS))),
    interval: z.coerce.number().min(0.5).max(3600).optional(),
  })
  .describe(
    `there must be ?topics= with some of ${PAGE_TOPICS.join(',')}, and may be &interval= with seconds`,
  );
export interface PageRoutesOptions {
  readonly model: ReadModel;
  readonly access: PageAccess;
  /** Asks the other nodes; absent: that cannot be done. */
  readonly links?: (() => Promise<readonly LinkReport[]>) | undefined;
  readonly log: Logger;
  /** What scripts/build.mjs made. */
  readonly folder?: string;
}

/** Adds them to `app`; returns what ends the streams that are open. */
export function pageRoutes(app: FastifyInstance, options: PageRoutesOptions): () => void {
  const { model, access, links, log, folder = packageFile('dist/ui') } = options;
  const hidden = redacted(model);
  const onBug = (error: unknown) => log.error({ err: error }, 'a stream of the web page failed');
  const streams = {
    clear: new WatchStreams({ model, clock: realClock, onBug }),
    hidden: new WatchStreams({ model: hidden, clock: realClock, onBug, maxStreams: MAX_HIDDEN_STREAMS }),
  };
  let files: PageFiles | undefined;

  const onRequest = async ({ headers }: FastifyRequest, reply: FastifyReply) => {
    for (const [name, value] of Object.entries(HEADERS)) reply.header(name, value);
    if (access.refusal !== undefined)
      throw new WarrenError('NOT_FOUND', `there is no web page here: ${access.refusal}`);
    if (access.isOwnHost(headers.host)) return;
    throw new WarrenError('HOST_REFUSED', 'the web page is not served under this name', {
      hint: 'Use localhost or 127.0.0.1, through `ssh -L` too; elsewhere a name of the certificate in api.tls.',
    });
  };
  /** Whether names are shown. Throws TOKEN_NEEDED, TOKEN_WRONG. */
  const seesNames = ({ headers }: FastifyRequest): boolean => {
    const hasToken = access.hasToken(headers.authorization);
    if (!hasToken && access.needsToken) {
      throw new WarrenError('TOKEN_NEEDED', 'nothing is shown here without a token', {
        hint: 'Use the token of api.tokenFile, or the link that `warren ui` prints on the node.',
      });
    }
    return hasToken;
  };

  app.get('/ui/api/session', { onRequest }, async (request) => ({ names: seesNames(request) }));
  app.get('/ui/api/history', { onRequest, schema: { querystring: historyRequest } }, async (request) => {
    const { after } = request.query as z.infer<typeof historyRequest>;
    return (seesNames(request) ? model : hidden).history(after);
  });
  app.get('/ui/api/links', { onRequest }, async (request) =>
    seesNames(request) ? ((await links?.()) ?? []) : [],
  );
  app.get(
    '/ui/api/watch',
    { onRequest, exposeHeadRoute: false, schema: { querystring: watchRequest } },
    (request, reply) => {
      const { topics, interval } = request.query as z.infer<typeof watchRequest>;
      const isClear = seesNames(request);
      const seconds = isClear ? interval : interval && Math.max(interval, LEAST_HIDDEN_INTERVAL_SECONDS);
      const stream = streams[isClear ? 'clear' : 'hidden'].open(
        topics,
        seconds === undefined ? undefined : seconds * 1000,
        reply.raw,
      );
      reply.hijack();
      reply.raw.writeHead(200, {
        ...HEADERS,
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
      });
      stream.start();
    },
  );
  const send = async (name: string, request: FastifyRequest, reply: FastifyReply): Promise<Buffer> => {
    files ??= new PageFiles(folder);
    const takesGzip = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
    const file = await files.read(name, takesGzip);
    if (file === undefined) throw new WarrenError('NOT_FOUND', `the web page has no file ${name}`);
    reply.type(file.type).header('vary', 'accept-encoding');
    if (file.isCompressed) reply.header('content-encoding', 'gzip');
    if (file.isImmutable) reply.header('cache-control', 'public, max-age=31536000, immutable');
    return file.bytes;
  };
  // With a slash at its end too.
  app.get('/ui', { onRequest }, async (request, reply) => send('index.html', request, reply));
  app.get<{ Params: { '*': string } }>('/ui/*', { onRequest }, async (request, reply) =>
    send(request.params['*'], request, reply),
  );
  return () => {
    streams.clear.close();
    streams.hidden.close();
  };
}
