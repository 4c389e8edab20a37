/**
 * The control API: HTTP and JSON on a unix socket that only root can open.
 *
 *     GET    /v1/status /v1/peers /v1/routes /v1/pods
 *     POST   /v1/pods              {"name": "web", "netns": "/run/netns/blue"}   netns may be absent
 *     DELETE /v1/pods/NAME
 *     DELETE /v1/peers/NODE        forgets a dead node, by name or id
 *     POST   /v1/leave             {"force": true}: gives the subnets back and ends the agent; force removes its pods
 *     GET    /v1/keys              the cluster's keys by fingerprint, and which nodes have them
 *     POST   /v1/keys              {"action": "add", "key": "..."}, {"action": "use", "fingerprint": "..."}
 *     GET    /v1/targets           this node's addresses and pods
 *     GET    /v1/targets/all       those of every node that can be asked
 */
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { dirname } from 'node:path';
import { z } from 'zod';
import { errorMessage, WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import type { AgentView } from './agent-view.ts';
import { agentIsRunning } from './client.ts';
import { type Answer, type ApiRequest, jsonAnswer, serve } from './http.ts';

export interface ApiServer {
  /** Stops answering and removes the socket. */
  close(): Promise<void>;
}

/**
 * Starts the API on the unix socket at `path` (0600, its folder 0755), replacing a socket that nobody
 * answers on. Throws AGENT_RUNNING if somebody does, SOCKET_UNUSABLE if it cannot be made.
 */
export async function startApiServer(options: {
  readonly path: string;
  readonly view: AgentView;
  readonly log: Logger;
}): Promise<ApiServer> {
  const { path, view, log } = options;
  const server = createServer();
  serve(
    server,
    (request) => route(view, request),
    (error) => log.error({ err: error }, 'the control API failed'),
  );
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    await removeStale(path);
    await listenPrivately(server, path);
  } catch (error) {
    if (error instanceof WarrenError) throw error;
    throw new WarrenError(
      'SOCKET_UNUSABLE',
      `cannot make the control socket ${path}: ${errorMessage(error)}`,
      {
        hint: 'Set node.socket to a path in a folder that the agent may write to.',
        cause: error,
      },
    );
  }
  return { close: () => closeServer(server) };
}

/** Closes a server and the connections that wait for more requests. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

const keyRequest = z.strictObject({
  action: z.enum(['add', 'use', 'remove']),
  key: z.string().optional(),
  fingerprint: z.string().optional(),
  force: z.boolean().optional(),
});
const leaveRequest = z.strictObject({ force: z.boolean().optional() });
const podRequest = z.strictObject({ name: z.string(), netns: z.string().optional() });

async function route(view: AgentView, request: ApiRequest): Promise<Answer> {
  const [version, collection, item, ...more] = request.path;
  if (version !== 'v1' || more.length > 0) throw notFound(request);
  switch (`${request.method} ${collection}${item === undefined ? '' : '/…'}`) {
    case 'GET status':
      return jsonAnswer(view.status());
    case 'GET peers':
      return jsonAnswer(view.peers());
    case 'GET routes':
      return jsonAnswer(view.routes());
    case 'GET pods':
      return jsonAnswer(view.pods.list());
    case 'GET targets':
      return jsonAnswer(view.targets());
    case 'GET targets/…':
      if (item === 'all') return jsonAnswer(await view.allTargets());
      break;
    case 'POST pods': {
      const pod = podRequest.safeParse(await request.json());
      if (!pod.success) {
        throw new WarrenError('BAD_REQUEST', 'the body must be {"name": "…"}, and may have "netns": "/…"');
      }
      return jsonAnswer(await view.pods.add(pod.data.name, { netns: pod.data.netns }), 201);
    }
    case 'DELETE peers/…':
      return jsonAnswer(view.forget(item!));
    case 'POST leave': {
      const leave = leaveRequest.safeParse(await request.json());
      if (!leave.success) throw new WarrenError('BAD_REQUEST', 'the body must be {}, or {"force": true}');
      return jsonAnswer(await view.leave({ force: leave.data.force === true }));
    }
    case 'GET keys':
      return jsonAnswer(await view.listKeys());
    case 'POST keys': {
      const change = keyRequest.safeParse(await request.json());
      if (!change.success)
        throw new WarrenError('BAD_REQUEST', 'the body must be {"action": "add|use|remove", …}');
      return jsonAnswer(await view.changeKeys(change.data));
    }
    case 'DELETE pods/…':
      return jsonAnswer(await view.pods.remove(item!));
  }
  if (
    item === undefined &&
    ['status', 'peers', 'routes', 'pods', 'targets', 'keys', 'leave'].includes(collection ?? '')
  ) {
    throw new WarrenError('METHOD_NOT_ALLOWED', `${request.method} is not possible on ${collection}`);
  }
  throw notFound(request);
}

function notFound(request: ApiRequest): WarrenError {
  return new WarrenError('NOT_FOUND', `there is nothing at /${request.path.join('/')}`, {
    hint: 'Is the warren command of another version than the agent? `warren --version` tells.',
  });
}

/** A crash leaves its socket behind; one that answers belongs to an agent that runs. */
async function removeStale(path: string): Promise<void> {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (entry === undefined) return;
  if (!entry.isSocket()) throw new Error('something that is no socket stands there');
  if (await agentIsRunning(path)) {
    throw new WarrenError('AGENT_RUNNING', `another agent is running: it answers on ${path}`, {
      hint: 'Stop it first, or give this one its own node.socket, node.stateDir and tun.name.',
    });
  }
  rmSync(path, { force: true });
}

/** The socket is private from its first moment on: the mask holds while `listen` makes it. */
function listenPrivately(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const mask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        chmodSync(path, 0o600);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}
