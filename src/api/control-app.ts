/**
 * The routes of the control sockets:
 *
 *     GET    /v1/status /v1/peers /v1/routes /v1/pods
 *     GET    /v1/inventory         what all nodes have attached
 *     GET    /v1/targets           this node's addresses and pods
 *     GET    /v1/leases            who has which subnet
 *     GET    /v1/events            what happened lately
 *     GET    /v1/history?after=N   rates of the last 15 minutes, from sample N on
 *     GET    /v1/page              where the web page is, with a token that shows names there
 *     GET    /v1/watch?topics=status,peers&interval=2    server-sent events, see watch-stream.ts
 *
 * and, for those who may do more than read,
 *
 *     POST   /v1/pods              {"name": "web", "netns": "/run/netns/blue"}   netns and labels may be absent
 *     DELETE /v1/pods/NAME
 *     GET    /v1/wireguard-peers   ordinary WireGuard devices of this node
 *     POST   /v1/wireguard-peers   {"name": "laptop"}: gives one keys and an address; the answer has its file
 *     GET    /v1/wireguard-peers/NAME    with its file, without its private key
 *     DELETE /v1/wireguard-peers/NAME
 *     DELETE /v1/peers/NODE        forgets a dead node, by name or id
 *     POST   /v1/leave             {"force": true}: gives the subnets back and ends the agent; force removes its pods
 *     POST   /v1/reload            reads the configuration again, and says what of it counts from now on
 *     GET    /v1/keys              the cluster's keys by fingerprint, and which nodes have them
 *     POST   /v1/keys              {"action": "add", "key": "..."}, {"action": "use", "fingerprint": "..."}
 *     GET    /v1/nodes             who takes part in forwarding
 *     POST   /v1/nodes             {"action": "approve", "nodes": ["node-b"]}, {"action": "approve", "all": true}, or revoke
 *     GET    /v1/targets/all       the targets of every node that can be asked
 *     GET    /v1/links             what goes between any two nodes, each of which is asked
 *     GET    /v1/sysdump?all=true  what a bug report needs, of this node or of all
 *     POST   /v1/check/respond     {"seconds": 60}: every node answers the connections of a check for so long
 *     POST   /v1/trace             {"source": "web", "destination": "db.node-b"}: where a packet between them dies, and why
 *     POST   /v1/capture           packets as a stream of pcapng, see capture-routes.ts
 *     GET    /v1/cni/status        and POST /v1/cni/…: what the CNI plugin asks, see cni-routes.ts
 *     POST   /v1/docker/enable     and /v1/docker/disable: the driver of Docker engines, see docker-routes.ts
 */
import type { Server } from 'node:http';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { realClock } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { PageReport } from '../readmodel/reports.ts';
import { TOPICS } from '../readmodel/topics.ts';
import { traceRequest } from '../trace/messages.ts';
import { z } from '../zod.ts';
import { newApp } from './app.ts';
import { captureRoutes } from './capture-routes.ts';
import { cniRoutes } from './cni-routes.ts';
import type { Commands } from './commands.ts';
import { dockerRoutes } from './docker-routes.ts';
import type { LoadedApp } from './late-server.ts';
import { policyRoutes } from './policy-routes.ts';
import { WatchStreams } from './watch-stream.ts';

export interface ControlAppOptions {
  readonly server: Server;
  readonly model: ReadModel;
  readonly page?: (() => PageReport) | undefined;
  /** Undefined: whoever asks may read only. */
  readonly commands: Commands | undefined;
  readonly log: Logger;
}

export async function controlApp({
  server,
  model,
  page,
  commands,
  log,
}: ControlAppOptions): Promise<LoadedApp> {
  const app = newApp(server, log);
  const streams = new WatchStreams({
    model,
    clock: realClock,
    onBug: (error) => log.error({ err: error }, 'a stream of changes failed'),
  });
  for (const topic of TOPICS) app.get(`/v1/${topic}`, async () => model[topic]());
  app.get('/v1/history', { schema: { querystring: historyRequest } }, async (request) => {
    return model.history((request.query as z.infer<typeof historyRequest>).after);
  });
  app.get('/v1/page', async () => page?.() ?? NO_PAGE);
  watchRoute(app, streams);
  commandRoutes(app, commands, log);
  await app.ready();
  return { handle: app.routing, close: () => streams.close() };
}

const NO_PAGE: PageReport = { url: null, reason: 'this agent has no web page' };

export const historyRequest = z
  .strictObject({ after: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0) })
  .describe('there may be ?after= with the number of a sample');

const podRequest = z
  .strictObject({
    name: z.string(),
    netns: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
  })
  .describe('the body must be {"name": "…"}, and may have "netns": "/…" and "labels": {"…": "…"}');
const wireguardPeerRequest = z
  .strictObject({
    name: z.string(),
    publicKey: z.string().optional(),
    endpoint: z.string().optional(),
    nodeEndpoint: z.string().optional(),
    dns: z.array(z.string()).optional(),
    labels: z.record(z.string(), z.string()).optional(),
  })
  .describe(
    'the body must be {"name": "…"}, and may have "publicKey", "endpoint", "nodeEndpoint", "dns": ["…"] and "labels"',
  );
const leaveRequest = z
  .strictObject({ force: z.boolean().optional() })
  .describe('the body must be {}, or {"force": true}');
const keyRequest = z
  .strictObject({
    action: z.enum(['add', 'use', 'remove']),
    key: z.string().optional(),
    fingerprint: z.string().optional(),
    force: z.boolean().optional(),
  })
  .describe('the body must be {"action": "add|use|remove", …}');

const nodeRequest = z
  .strictObject({
    action: z.enum(['approve', 'revoke']),
    nodes: z.array(z.string().max(64)).max(10_000).optional(),
    all: z.boolean().optional(),
  })
  .describe('the body must be {"action": "approve|revoke", "nodes": ["…"]}; approve may have "all": true');
const respondRequest = z
  .strictObject({ seconds: z.number().min(1).max(3600) })
  .describe('the body must be {"seconds": …}, 3600 at most');
const sysdumpRequest = z
  .strictObject({ all: z.enum(['true', 'false']).optional() })
  .describe('there may be ?all=true');

function commandRoutes(app: FastifyInstance, commands: Commands | undefined, log: Logger): void {
  /** For each request anew, before its body is looked at: on the read-only socket all of them are refused. */
  const onRequest = async ({ method, url }: FastifyRequest) => {
    if (commands !== undefined) return;
    throw new WarrenError('READ_ONLY', `this socket is for reading: ${method} ${url} is not possible`, {
      hint: "Use the agent's control socket, node.socket of its configuration.",
    });
  };
  // Nothing is called on it: the hook above comes first.
  const agent = commands as Commands;

  app.post('/v1/pods', { onRequest, schema: { body: podRequest } }, async (request, reply) => {
    const { name, ...options } = request.body as z.infer<typeof podRequest>;
    reply.code(201);
    return agent.addPod(name, options);
  });
  app.delete<Named>('/v1/pods/:name', { onRequest }, async ({ params }) => agent.removePod(params.name));
  app.get('/v1/wireguard-peers', { onRequest }, async () => agent.listWireguardPeers());
  app.get<Named>('/v1/wireguard-peers/:name', { onRequest }, async ({ params }) =>
    agent.showWireguardPeer(params.name),
  );
  const wireguardPeer = { onRequest, schema: { body: wireguardPeerRequest } };
  app.post('/v1/wireguard-peers', wireguardPeer, async (request, reply) => {
    reply.code(201);
    return agent.addWireguardPeer(request.body as z.infer<typeof wireguardPeerRequest>);
  });
  app.delete<Named>('/v1/wireguard-peers/:name', { onRequest }, async ({ params }) =>
    agent.removeWireguardPeer(params.name),
  );
  app.delete<Named>('/v1/peers/:name', { onRequest }, async ({ params }) => agent.forget(params.name));
  app.post('/v1/leave', { onRequest, schema: { body: leaveRequest } }, async (request) => {
    const { force } = request.body as z.infer<typeof leaveRequest>;
    return agent.leave({ force: force === true });
  });
  app.post('/v1/reload', { onRequest }, async () => agent.reload());
  app.get('/v1/keys', { onRequest }, async () => agent.listKeys());
  app.post('/v1/keys', { onRequest, schema: { body: keyRequest } }, async (request) =>
    agent.changeKeys(request.body as z.infer<typeof keyRequest>),
  );
  app.get('/v1/nodes', { onRequest }, async () => agent.listNodes());
  app.post('/v1/nodes', { onRequest, schema: { body: nodeRequest } }, async (request) =>
    agent.changeNodes(request.body as z.infer<typeof nodeRequest>),
  );
  app.get('/v1/targets/all', { onRequest }, async () => agent.allTargets());
  app.get('/v1/links', { onRequest }, async () => agent.links());
  app.get('/v1/sysdump', { onRequest, schema: { querystring: sysdumpRequest } }, async (request) => {
    const { all } = request.query as z.infer<typeof sysdumpRequest>;
    return agent.sysdump({ all: all === 'true' });
  });
  app.post('/v1/check/respond', { onRequest, schema: { body: respondRequest } }, async (request) => {
    const { seconds } = request.body as z.infer<typeof respondRequest>;
    return agent.respond(seconds);
  });
  app.post('/v1/trace', { onRequest, schema: { body: traceRequest } }, async (request, reply) => {
    const gone = new AbortController();
    reply.raw.on('close', () => gone.abort());
    return agent.trace(request.body as z.infer<typeof traceRequest>, gone.signal);
  });
  captureRoutes(app, onRequest, log, (request, signal) => agent.capture(request, signal));
  cniRoutes(app, onRequest, () => agent.cni());
  dockerRoutes(app, onRequest, () => agent.docker());
  policyRoutes(app, onRequest, () => agent.policies());
}

interface Named {
  Params: { name: string };
}

const watchRequest = z
  .strictObject({
    topics: z
      .string()
      .transform((text) => [...new Set(text.split(','))])
      .pipe(z.array(z.enum(TOPICS))),
    interval: z.coerce.number().min(0.1).max(86_400).optional(),
  })
  .describe(
    `there must be ?topics= with some of ${TOPICS.join(',')}, and may be &interval= with seconds, 0.1 or more`,
  );

function watchRoute(app: FastifyInstance, streams: WatchStreams): void {
  const options = { exposeHeadRoute: false, schema: { querystring: watchRequest } };
  app.get('/v1/watch', options, (request, reply) => {
    const { topics, interval } = request.query as z.infer<typeof watchRequest>;
    const stream = streams.open(topics, interval === undefined ? undefined : interval * 1000, reply.raw);
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    stream.start();
  });
}
