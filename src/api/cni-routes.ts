/**
 * What the CNI plugin and `warren cni install` ask, on the control socket alone:
 *
 *     GET    /v1/cni/status        whether containers can be attached
 *     POST   /v1/cni/add           attaches a container: {"network": "…", "containerId": "…", "interfaceName": "…", …}
 *     POST   /v1/cni/delete        nothing happens if there is none
 *     POST   /v1/cni/undo          removes what an ADD has attached that nobody takes the answer of
 *     POST   /v1/cni/check         what is wrong with an attachment
 *     POST   /v1/cni/gc            removes all of a network but those in "keep"
 *     POST   /v1/cni/install       a network configuration is to be at {"conflist": "…", …}
 *     POST   /v1/cni/uninstall     and is to be there no longer
 *
 * The bodies are those of src/cni/messages.ts.
 */
import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type {
  AddRequest,
  AttachmentKey,
  CniCommands,
  DeleteRequest,
  GcRequest,
  InstalledPlugin,
  UndoRequest,
} from '../cni/messages.ts';
import { z } from '../zod.ts';

/** The list of what a full node has. */
const MAX_GC_BYTES = 4 * 1024 * 1024;

const container = { containerId: z.string(), interfaceName: z.string() };
const key = { network: z.string(), ...container };
const caller = z.strictObject({ pid: z.number(), startedAt: z.number() });
const addRequest = z
  .strictObject({
    ...key,
    caller: caller.optional(),
    netns: z.string(),
    name: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    addresses: z.array(z.string()).max(2).optional(),
    mtu: z.number().optional(),
    queue: z.string(),
  })
  .describe('the body must be an attachment: network, containerId, interfaceName, netns, queue');
const keyRequest = z
  .object(key)
  .describe('the body must be {"network": "…", "containerId": "…", "interfaceName": "…"}');
const deleteRequest = keyRequest
  .extend({ caller: caller.optional() })
  .describe('the body must be {"network": "…", "containerId": "…", "interfaceName": "…"}');
const undoRequest = keyRequest
  .extend({ caller })
  .describe('the body must be {"network": "…", "containerId": "…", "interfaceName": "…", "caller": {…}}');
const gcRequest = z
  .strictObject({ caller: caller.optional(), network: z.string(), keep: z.array(z.object(container)) })
  .describe('the body must be {"network": "…", "keep": […]}');
const absolutePath = z.string().startsWith('/');
const installRequest = z
  .strictObject({ conflist: absolutePath, plugin: absolutePath, portmap: z.boolean() })
  .describe('the body must be {"conflist": "/…", "plugin": "/…", "portmap": true}');
const uninstallRequest = z
  .strictObject({ conflist: absolutePath })
  .describe('the body must be {"conflist": "/…"}');

export function cniRoutes(
  app: FastifyInstance,
  onRequest: (request: FastifyRequest) => Promise<void>,
  commands: () => Promise<CniCommands>,
): void {
  const post = <T>(
    name: string,
    body: z.ZodType,
    answer: (cni: CniCommands, request: T, response: ServerResponse) => unknown,
    bodyLimit?: number,
  ) => {
    const options = { onRequest, schema: { body }, ...(bodyLimit !== undefined && { bodyLimit }) };
    app.post(`/v1/cni/${name}`, options, async (request, reply) => {
      return (await answer(await commands(), request.body as T, reply.raw)) ?? {};
    });
  };
  app.get('/v1/cni/status', { onRequest }, async () => (await commands()).status());
  post<AddRequest>('add', addRequest, (cni, request, response) => cni.add(request, goneSignal(response)));
  post<DeleteRequest>('delete', deleteRequest, (cni, request) => cni.delete(request));
  post<UndoRequest>('undo', undoRequest, (cni, request) => cni.undo(request));
  post<AttachmentKey>('check', keyRequest, (cni, request) => cni.check(request));
  post<GcRequest>('gc', gcRequest, (cni, request) => cni.gc(request), MAX_GC_BYTES);
  post<InstalledPlugin>('install', installRequest, (cni, request) => cni.install(request));
  post<{ conflist: string }>('uninstall', uninstallRequest, (cni, { conflist }) => cni.uninstall(conflist));
}

/** Fires when whoever asked has ended the connection before all of the answer was on its way to them. */
function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  const { socket } = response;
  let isSent = false;
  // It is finished as well where the kernel has refused it.
  response.once('finish', () => (isSent = socket?.errored === null));
  response.once('close', () => {
    if (!isSent) gone.abort();
  });
  if (response.destroyed) gone.abort();
  return gone.signal;
}
