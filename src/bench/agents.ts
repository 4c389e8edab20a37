/**
 * Real agents in network namespaces, side by side with Serf's doing the same on the same underlay: they join, five
 * are killed at once, six are cut off and come back. Times are read from both programs' own logs, so that watching
 * costs nothing; bytes from the interfaces.
 */
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Lab } from '../lab/lab.ts';
import type { LabNode } from '../lab/node.ts';

export type AgentProgram = 'warren' | 'serf';

export interface AgentTimes {
  /** From the moment the last agent ran until all knew all. */
  readonly joinMs: number;
  readonly deathMs: number;
  readonly healMs: number;
  /** Sent by one node in a second at rest, on average: all bytes of the interface. */
  readonly bytesPerSecond: number;
}

const NAME = 'labagents';
const KILLED = 5;
const CUT_OFF = 6;
const AT_REST_MS = 20_000;
const LIMIT_MS = 60_000;
/** What both must have noticed of a partition before it is healed. */
const CUT_OFF_MS = 25_000;

/** What one agent has said of the others: when it last saw each come or go. */
interface Sight {
  readonly startedAtMs: number;
  readonly lastSeen: ReadonlyMap<string, { readonly isAlive: boolean; readonly atMs: number }>;
}

interface Program {
  readonly name: string;
  start(node: LabNode, nodes: readonly LabNode[]): void;
  kill(node: LabNode): Promise<void>;
  sight(node: LabNode): Sight;
}

/** Builds a lab for it, and removes it again whatever happens. `progress` is told what is being done. */
export async function measureAgents(
  which: AgentProgram,
  count: number,
  signal: AbortSignal,
  progress: (doing: string) => void,
): Promise<AgentTimes> {
  const lab = await Lab.up({ name: NAME, nodes: count, pods: 0, start: false, signal });
  const program = which === 'warren' ? warrenProgram() : serfProgram();
  try {
    return await measure(lab.nodes, program, signal, progress);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    await Promise.all(lab.nodes.map((node) => program.kill(node)));
    await Lab.remove(NAME);
  }
}

async function measure(
  nodes: readonly LabNode[],
  program: Program,
  signal: AbortSignal,
  progress: (doing: string) => void,
): Promise<AgentTimes> {
  const pause = (ms: number) => delay(ms, undefined, { signal });
  progress(`${nodes.length} agents start`);
  for (const node of nodes) program.start(node, nodes);
  const joinedAtMs = await until(program, nodes, nodes, nodes, signal);
  const joinMs = joinedAtMs - Math.max(...nodes.map((node) => program.sight(node).startedAtMs));

  progress('at rest');
  await pause(10_000);
  const before = await sentBytes(nodes);
  await pause(AT_REST_MS);
  const bytesPerSecond = (((await sentBytes(nodes)) - before) * 1000) / AT_REST_MS / nodes.length;

  progress(`${CUT_OFF} are cut off and come back`);
  const away = nodes.slice(-CUT_OFF);
  await Promise.all(away.map((node) => node.setConnected(false)));
  await pause(CUT_OFF_MS);
  const healedAtMs = Date.now();
  await Promise.all(away.map((node) => node.setConnected(true)));
  const healMs = (await until(program, nodes, nodes, nodes, signal)) - healedAtMs;

  progress(`${KILLED} are killed`);
  await pause(5_000);
  const killedAtMs = Date.now();
  const killed = nodes.slice(-KILLED);
  const rest = nodes.slice(0, -KILLED);
  await Promise.all(killed.map((node) => program.kill(node)));
  const deathMs = (await until(program, rest, rest, nodes, signal)) - killedAtMs;
  return { joinMs, deathMs, healMs, bytesPerSecond };
}

/** When the last of `viewers` saw `alive` alive and the rest of `all` gone. */
async function until(
  program: Program,
  viewers: readonly LabNode[],
  alive: readonly LabNode[],
  all: readonly LabNode[],
  signal: AbortSignal,
): Promise<number> {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const sights = viewers.map((node) => ({ node, sight: program.sight(node) }));
    const wrong = sights.flatMap(({ node, sight }) =>
      all
        .filter(
          (other) =>
            other !== node && (sight.lastSeen.get(other.name)?.isAlive ?? false) !== alive.includes(other),
        )
        .map((other) => `${node.name} of ${other.name}`),
    );
    if (wrong.length === 0) {
      return Math.max(...sights.flatMap(({ sight }) => [...sight.lastSeen.values()].map(({ atMs }) => atMs)));
    }
    if (Date.now() > deadline)
      throw new Error(`${program.name}: not after ${LIMIT_MS} ms: ${wrong.slice(0, 5).join(', ')}`);
    await delay(250, undefined, { signal });
  }
}

function warrenProgram(): Program {
  return {
    name: 'warren',
    start: (node) => node.start(),
    kill: (node) => node.kill('SIGKILL'),
    sight: (node) => {
      const lastSeen = new Map<string, { isAlive: boolean; atMs: number }>();
      let startedAtMs = Number.POSITIVE_INFINITY;
      for (const line of node.log().split('\n')) {
        const [, time, what, name] = /^(\S+Z) +[A-Z]+ +node is (alive|dead) node=(\S+)/.exec(line) ?? [];
        if (line.includes('warren agent starts')) startedAtMs = Date.parse(line.slice(0, line.indexOf(' ')));
        if (time && what && name) lastSeen.set(name, { isAlive: what === 'alive', atMs: Date.parse(time) });
      }
      return { startedAtMs, lastSeen };
    },
  };
}

/** Debian's `serf`, LAN profile. Its log has no milliseconds: lines are stamped when they come. */
function serfProgram(): Program {
  const key = randomBytes(32).toString('base64');
  const running = new Map<LabNode, ChildProcess>();
  const sights = new Map<
    LabNode,
    { startedAtMs: number; lastSeen: Map<string, { isAlive: boolean; atMs: number }> }
  >();
  return {
    name: 'serf',
    start: (node, nodes) => {
      const seeds = nodes.filter((other) => other !== node).slice(0, 3);
      const child = node.spawn(
        [
          ...['serf', 'agent', `-node=${node.name}`, `-bind=${node.underlayAddress}:7946`],
          ...['-rpc-addr=127.0.0.1:7373', '-profile=lan', '-log-level=info'],
          ...seeds.map((seed) => `-retry-join=${seed.underlayAddress}`),
          '-retry-interval=1s',
          // As the lab's own agents: AES-256 under a common key.
          `-encrypt=${key}`,
        ],
        { stdio: ['ignore', 'pipe', 'ignore'] },
      );
      running.set(node, child);
      const sight = {
        startedAtMs: Date.now(),
        lastSeen: new Map<string, { isAlive: boolean; atMs: number }>(),
      };
      sights.set(node, sight);
      let rest = '';
      child.stdout?.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const [, what, name] = /EventMember(Join|Failed|Leave|Reap): (\S+)/.exec(line) ?? [];
          if (name) sight.lastSeen.set(name, { isAlive: what === 'Join', atMs: Date.now() });
        }
      });
    },
    kill: async (node) => {
      running.get(node)?.kill('SIGKILL');
      running.delete(node);
    },
    sight: (node) => {
      const { startedAtMs, lastSeen } = sights.get(node)!;
      const others = new Map(lastSeen);
      others.delete(node.name);
      return { startedAtMs, lastSeen: others };
    },
  };
}

async function sentBytes(nodes: readonly LabNode[]): Promise<number> {
  const counts = await Promise.all(
    nodes.map(async (node) => {
      const { stdout } = await node.exec(['ip', '-statistics', '-json', 'link', 'show', 'eth0']);
      return (JSON.parse(stdout) as [{ stats64: { tx: { bytes: number } } }])[0].stats64.tx.bytes;
    }),
  );
  return counts.reduce((sum, bytes) => sum + bytes, 0);
}
