/**
 * What `warren policy` asks, on the control socket alone:
 *
 *     GET    /v1/policies     what there is
 *     POST   /v1/policies     {"apply": [documents], "delete": ["namespace/name"], "all": true}: each may be left out; with the
 *                             last all other nodes get what this one has then
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { PolicyChange, PolicyCommands } from '../policy/commands.ts';
import { z } from '../zod.ts';

/** A thousand policies are half a megabyte. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;
const changeRequest = z
  .strictObject({
    apply: z.array(z.unknown()).optional(),
    delete: z.array(z.string().max(512)).max(4096).optional(),
    all: z.boolean().optional(),
  })
  .describe('the body must be {"apply": […], "delete": ["…"], "all": true}, or some of it');

export function policyRoutes(
  app: FastifyInstance,
  onRequest: (request: FastifyRequest) => Promise<void>,
  commands: () => Promise<PolicyCommands>,
): void {
  app.get('/v1/policies', { onRequest }, async () => (await commands()).list());
  app.post(
    '/v1/policies',
    { onRequest, bodyLimit: MAX_BODY_BYTES, schema: { body: changeRequest } },
    async (request) => (await commands()).change(request.body as PolicyChange),
  );
}
