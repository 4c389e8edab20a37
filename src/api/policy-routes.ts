/**
 * What `warren policy` asks, on the control socket alone:
 *
 *     GET    /v1/policies     what there is
 *     POST   /v1/policies     {"apply": [documents], "delete": ["namespace/name"], "all": true}: each may be left out; with the
 *                             last all other nodes get what this one has then
 *     POST   /v1/policies/explain   {"source", "destination", "protocol", "port"}: why packets are let through or not
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ExplainRequest, PolicyChange, PolicyCommands } from '../policy/commands.ts';
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

const explainRequest = z
  .strictObject({
    source: z.string().max(256),
    destination: z.string().max(256),
    protocol: z.enum(['tcp', 'udp', 'icmp']),
    port: z.number().int().min(0).max(65_535),
  })
  .describe('the body must be {"source": "…", "destination": "…", "protocol": "tcp|udp|icmp", "port": …}');

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
  app.post('/v1/policies/explain', { onRequest, schema: { body: explainRequest } }, async (request) =>
    (await commands()).explain(request.body as ExplainRequest),
  );
}
