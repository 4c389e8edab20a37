/**
 * What `warren docker` asks, on the control socket alone:
 *
 *     POST   /v1/docker/enable     the driver answers at {"plugin": "/…"}; the engine's API is at {"engine": "/…"}; names of the
 *                                overlay are told to it in {"daemonConfig": "/…"}, if that is there
 *     POST   /v1/docker/disable    and answers no longer
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { DockerCommands, DockerSettings } from '../docker/commands.ts';
import { z } from '../zod.ts';

/** `sun_path` has 108 bytes with the closing zero. */
const socketPath = z.string().startsWith('/').max(107);
const enableRequest = z
  .strictObject({
    plugin: socketPath,
    engine: socketPath,
    daemonConfig: z.string().startsWith('/').max(4096).optional(),
  })
  .describe('the body must be {"plugin": "/…", "engine": "/…", "daemonConfig": "/…"}');

export function dockerRoutes(
  app: FastifyInstance,
  onRequest: (request: FastifyRequest) => Promise<void>,
  commands: () => Promise<DockerCommands>,
): void {
  app.post('/v1/docker/enable', { onRequest, schema: { body: enableRequest } }, async (request) => {
    return (await commands()).enable(request.body as DockerSettings);
  });
  app.post('/v1/docker/disable', { onRequest }, async () => {
    return (await commands()).disable();
  });
}
