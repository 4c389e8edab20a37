/**
 *     POST   /v1/capture    {"seconds": 10, "pods": ["web"], "all": true}, all of which may be absent
 *
 * The answer is a file of pcapng that grows as packets come; behind it, as a trailer, the nodes that are missing in it.
 */
import { once } from 'node:events';
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify';
import type { RunningCapture } from '../capture/captures.ts';
import { type CaptureRequest, captureRequest } from '../capture/request.ts';
import type { Logger } from '../log/logger.ts';
import { MISSING_TRAILER } from './trailers.ts';

export function captureRoutes(
  app: FastifyInstance,
  onRequest: onRequestAsyncHookHandler,
  log: Logger,
  capture: (request: CaptureRequest, signal: AbortSignal) => Promise<RunningCapture>,
): void {
  app.post('/v1/capture', { onRequest, schema: { body: captureRequest } }, async (request, reply) => {
    const gone = new AbortController();
    const { raw } = reply;
    raw.on('close', () => gone.abort());
    const { chunks, missing } = await capture(request.body as CaptureRequest, gone.signal);
    reply.hijack();
    raw.writeHead(200, {
      'content-type': 'application/x-pcapng',
      'cache-control': 'no-store',
      trailer: MISSING_TRAILER,
    });
    try {
      for await (const chunk of chunks) {
        // Whoever asked may have gone: then the loop is over with the next chunk, or at once.
        if (gone.signal.aborted) break;
        if (!raw.write(chunk)) {
          await Promise.race([once(raw, 'drain').catch(() => {}), once(raw, 'close').catch(() => {})]);
        }
      }
    } catch (error) {
      // Whoever reads it is to know that it is not whole.
      log.error({ err: error }, 'a capture failed');
      raw.destroy();
      return;
    }
    raw.addTrailers({ [MISSING_TRAILER]: encodeURIComponent(JSON.stringify(missing)) });
    raw.end();
  });
}
