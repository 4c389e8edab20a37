/** An agent as a process: signals, exit code, and what `--cleanup` takes off the host. */
import { Agent } from '../agent.ts';
import { agentIsRunning } from '../api/client.ts';
import { fileAttachmentStore } from '../attachment/attachment-store.ts';
import { Attachments } from '../attachment/attachments.ts';
import type { Config } from '../config/config.ts';
import { WarrenError } from '../errors.ts';
import { LinuxAttachmentNetwork } from '../host/attachment/linux-attachment-network.ts';
import { LinuxHostRules } from '../host/rules/linux-host-rules.ts';
import { removeTun } from '../host/tun-network.ts';
import { loadIdentity } from '../identity.ts';
import { createLogger } from '../log/logger.ts';
import { lockTun } from '../tun/tun-lock.ts';
import { linuxParts, refuseSecondAgent } from './linux-parts.ts';

/** For the answer to `warren leave` to get through before the control socket goes. */
const LEAVE_ANSWER_MS = 100;

/**
 * Runs the agent until SIGTERM or SIGINT; returns the exit code. SIGTERM is taken for a restart: the others are
 * told nothing, and keep this node's routes until they miss it. SIGINT and `warren leave` leave the cluster.
 */
export async function runAgent(config: Config): Promise<number> {
  const log = createLogger(config.log);
  const stopping = new AbortController();
  const ended = new Promise<number>((resolve) => {
    // Whoever stops it says so in a word; an error is a failure.
    stopping.signal.addEventListener('abort', () =>
      resolve(typeof stopping.signal.reason === 'string' ? 0 : 1),
    );
  });
  const stop = (why: 'SIGTERM' | 'SIGINT' | 'leave') => {
    log.info({ why }, 'stopping');
    stopping.abort(why);
  };
  process.once('SIGTERM', () => stop('SIGTERM'));
  process.once('SIGINT', () => stop('SIGINT'));
  const parts = linuxParts(config, log);
  await refuseSecondAgent(config);
  const agent = await Agent.build(config, parts, {
    onFailure: (error) => {
      log.fatal({ err: error }, 'the agent cannot go on');
      stopping.abort(error);
    },
    onLeave: () => setTimeout(() => stop('leave'), LEAVE_ANSWER_MS),
  });
  try {
    await agent.start();
    return await ended;
  } finally {
    await agent.stop({ leave: ['SIGINT', 'leave'].includes(stopping.signal.reason) });
  }
}

/** Removes what an agent leaves on the host: its pods, the TUN device, its routes. The identity and lease stay. */
export async function cleanupNode(config: Config): Promise<void> {
  if (await agentIsRunning(config.node.socket)) {
    throw new WarrenError('AGENT_RUNNING', `an agent is running on ${config.node.socket}`, {
      hint: 'Stop it first; it would put everything back.',
    });
  }
  // Nor one that has another socket; and none may start meanwhile.
  const lock = lockTun(config.tun.name);
  try {
    await removeRules(config);
    await removeAttachments(config);
    await removeTun(
      config.tun.name,
      config.cluster.podCidrs.map(({ range }) => range),
    );
  } finally {
    lock.release();
  }
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
  const log = createLogger(config.log);
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
    await attachments.close();
    await network.removeTable();
  } finally {
    await network.close();
  }
}
