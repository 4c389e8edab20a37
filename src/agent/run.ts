/** An agent as a process: signals, exit code, and what `--cleanup` takes off the host. */
import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent, type AgentEvents } from '../agent.ts';
import { agentIsRunning } from '../api/client.ts';
import { fileAttachmentStore } from '../attachment/attachment-store.ts';
import { Attachments } from '../attachment/attachments.ts';
import { realClock } from '../clock.ts';
import type { InstalledPlugin } from '../cni/messages.ts';
import type { Config } from '../config/config.ts';
import { WarrenError } from '../errors.ts';
import { LinuxAttachmentNetwork } from '../host/attachment/linux-attachment-network.ts';
import { endNow } from '../host/end-now.ts';
import { NetnsResolvFiles } from '../host/netns-resolv.ts';
import { LinuxHostRules } from '../host/rules/linux-host-rules.ts';
import { removeTun } from '../host/tun-network.ts';
import { loadIdentity } from '../identity.ts';
import { createLog, type Log, type Logger } from '../log/logger.ts';
import { openStandardError } from '../sys/standard-error.ts';
import { lockTun, type TunLock } from '../tun/tun-lock.ts';
import { linuxParts, refuseSecondAgent } from './linux-parts.ts';
import type { ServiceManager } from './service-manager.ts';

/** For the answer to `warren leave` to get through before the control socket goes. */
const LEAVE_ANSWER_MS = 100;
/** At the end, for the reader of the log to take the last lines. */
const LOG_FLUSH_MS = 500;
/** For an agent that is ending to let go of its device. */
const ENDING_MS = 5_000;

/**
 * Runs the agent until SIGTERM or SIGINT; returns the exit code. SIGTERM is taken for a restart: the others are
 * told nothing, and keep this node's routes until they miss it. SIGINT and `warren leave` leave the cluster.
 * At SIGHUP the configuration is read again, by `readConfig`. Runtimes are told of the CNI plugin `announce`.
 * With a thread that does not end it never returns, but ends the process.
 */
export async function runAgent(
  config: Config,
  readConfig: () => Config,
  announce?: InstalledPlugin,
): Promise<number> {
  const wholeLog = openLog(config);
  const log = wholeLog.logger;
  const service = await serviceManager(log);
  const stopping = new AbortController();
  const ended = new Promise<number>((resolve) => {
    // Whoever stops it says so in a word; an error is a failure.
    stopping.signal.addEventListener('abort', () =>
      resolve(typeof stopping.signal.reason === 'string' ? 0 : 1),
    );
  });
  const stop = (why: 'SIGTERM' | 'SIGINT' | 'leave') => {
    log.info({ why }, 'stopping');
    service?.stopping();
    stopping.abort(why);
  };
  process.once('SIGTERM', () => stop('SIGTERM'));
  process.once('SIGINT', () => stop('SIGINT'));
  let agent: Agent | undefined;
  // One that comes before the agent runs is not lost: what it read may be older.
  let isReloadDue = false;
  process.on('SIGHUP', () => {
    // What goes wrong is logged where it does.
    if (agent) agent.reload().catch(() => {});
    else isReloadDue = true;
  });
  // Before the state folder is touched, which is its own.
  await refuseSecondAgent(config);
  const linux = linuxParts(config, log);
  const parts = {
    ...linux,
    ...(linux.cni && announce && { cni: { ...linux.cni, announce } }),
    readConfig,
    droppedLogLines: () => wholeLog.dropped,
    recentLog: () => wholeLog.recent(),
  };
  service?.status('starting');
  let hasStuckThread = false;
  const events: AgentEvents = {
    onFailure: (error) => {
      hasStuckThread ||= error instanceof WarrenError && error.code === 'WORKER_STUCK';
      log.fatal({ err: error }, 'the agent cannot go on');
      service?.stopping();
      stopping.abort(error);
    },
    onLeave: () => setTimeout(() => stop('leave'), LEAVE_ANSWER_MS),
    onWaiting: ({ message }) => service?.status(`waiting for an underlay address: ${message}`),
    onUp: (what) => service?.ready(what),
    onReload: (isDone) => (isDone ? service?.reloaded() : service?.reloading()),
  };
  try {
    const built = await Agent.build(config, parts, events, stopping.signal);
    try {
      await built.start();
      agent = built;
      if (isReloadDue) agent.reload().catch(() => {});
      return await ended;
    } finally {
      agent = undefined;
      await built.stop({ leave: ['SIGINT', 'leave'].includes(stopping.signal.reason) });
    }
  } catch (error) {
    // Whatever was under way: it was told to stop.
    if (stopping.signal.aborted) return await ended;
    throw error;
  } finally {
    service?.stopping();
    if (hasStuckThread) await endNow(1);
  }
}

/** To standard error; at the end of the process, however that comes, it is told what is left to tell. */
function openLog(config: Config): Log {
  const log = createLog(config.log, openStandardError());
  process.once('exit', () => log.flush(LOG_FLUSH_MS));
  return log;
}

/** Undefined where none has started this process, or wants to hear of it. */
async function serviceManager(log: Logger): Promise<ServiceManager | undefined> {
  if (!process.env.NOTIFY_SOCKET) return undefined;
  const { ServiceManager } = await import('./service-manager.ts');
  return new ServiceManager({ env: process.env, clock: realClock, log });
}

/** Removes what an agent leaves on the host: its pods, the TUN device, its routes, its name in an engine's configuration. The identity and lease stay. */
export async function cleanupNode(config: Config): Promise<void> {
  if (await agentIsRunning(config.node.socket)) {
    throw new WarrenError('AGENT_RUNNING', `an agent is running on ${config.node.socket}`, {
      hint: 'Stop it first; it would put everything back.',
    });
  }
  // Nor one that has another socket; and none may start meanwhile.
  const lock = await lockWhenFree(config.tun.name);
  try {
    await removeRules(config);
    await removeConflists(config);
    await removeAttachments(config);
    await removeTun(
      config.tun.name,
      config.cluster.podCidrs.map(({ range }) => range),
    );
    await removeFromEngine(config);
  } finally {
    lock.release();
  }
}

/** An agent that ends has the device for a moment after its control socket has gone. Throws TUN_TAKEN as well. */
async function lockWhenFree(name: string): Promise<TunLock> {
  const deadline = performance.now() + ENDING_MS;
  for (;;) {
    try {
      return lockTun(name);
    } catch (error) {
      if (!isTaken(error) || performance.now() > deadline) throw error;
      await delay(50);
    }
  }
}

function isTaken(error: unknown): boolean {
  return error instanceof WarrenError && error.code === 'TUN_TAKEN';
}

/** Of a Docker engine, which would ask for names where nobody answers. */
async function removeFromEngine({ node: { stateDir } }: Config): Promise<void> {
  const identity = loadIdentity(stateDir);
  if (!identity) return;
  const { withdrawEngineConfig } = await import('../docker/docker-service.ts');
  withdrawEngineConfig(stateDir, identity.id);
}

/** A runtime that finds them would wait for an agent. */
async function removeConflists({ node: { stateDir } }: Config): Promise<void> {
  const identity = loadIdentity(stateDir);
  if (!identity) return;
  const { readInstalled } = await import('../cni-server/conflists.ts');
  for (const { conflist } of readInstalled(stateDir, identity.id)) rmSync(conflist, { force: true });
}

async function removeRules(config: Config): Promise<void> {
  const rules = new LinuxHostRules(config);
  try {
    await rules.remove();
  } finally {
    rules.close();
  }
}

async function removeAttachments(config: Config): Promise<void> {
  const { stateDir } = config.node;
  const log = openLog(config).logger;
  const identity = loadIdentity(stateDir);
  // Without an identity no agent ever ran from this state folder, and nothing is attached.
  if (!identity) return;
  const network = new LinuxAttachmentNetwork({ log });
  try {
    const attachments = new Attachments({
      nodeId: identity.id,
      store: fileAttachmentStore(stateDir, identity.id),
      network,
      subnets: [],
      limits: { mtu: 0, gsoMaxSegments: 1 },
      log,
    });
    await attachments.deleteAll();
    const files = new NetnsResolvFiles(identity.id);
    for (const netns of await files.list()) await files.remove(netns);
    await attachments.close();
    await network.removeTable();
  } finally {
    await network.close();
  }
}
