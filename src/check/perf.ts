/**
 * `warren check --perf`: how fast TCP is to each peer, and how long an answer takes, from this node and from one of its pods. One
 * pair after the other, so that they do not share a link.
 */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { AgentClient } from '../api/client.ts';
import { errorMessage } from '../errors.ts';
import type { PerfReport, PerfResult, RespondersReport } from '../readmodel/check-reports.ts';
import { Dialler } from './dial.ts';
import { checkProblems, checkSources, type Source } from './pairs.ts';
import type { ResponderEndpoint } from './responder-messages.ts';

const ECHOES = 20;
const CHUNK = Buffer.alloc(256 * 1024, 0x77);
/** For a connection, an answer, or the last bytes to arrive. */
const TIMEOUT_MS = 5000;
/** Of start and end, and of what answers late. */
const SPARE_SECONDS = 60;
const MAX_PAIRS = 500;

interface Pair {
  readonly source: Source;
  readonly toNode: string;
  readonly token: string;
  readonly endpoint: ResponderEndpoint;
}

export async function runPerfCheck(
  client: AgentClient,
  secondsEach: number,
  onProgress: (done: number, total: number) => void,
): Promise<PerfReport> {
  const [status, pods] = await Promise.all([client.status(), client.pods()]);
  const count = Object.values(status.cluster.members).reduce((sum, one) => sum + one, 0);
  const seconds = Math.min(3600, SPARE_SECONDS + 2 * count * (secondsEach + 1));
  const responders = await client.respond(seconds);
  const pairs = perfPairs(status.node.name, checkSources(status, pods), responders);
  const dialler = new Dialler();
  const results: PerfResult[] = [];
  try {
    for (const pair of pairs.slice(0, MAX_PAIRS)) {
      results.push(await measure(dialler, pair, secondsEach));
      onProgress(results.length, pairs.length);
    }
  } finally {
    dialler.close();
  }
  const problems = checkProblems(status, pods);
  if (pairs.length > MAX_PAIRS)
    problems.push(`only the first ${MAX_PAIRS} of ${pairs.length} pairs were measured`);
  const isWhole = problems.length === 0 && responders.unreachable.length === 0;
  return {
    node: status.node.name,
    ok: isWhole && results.every(({ ok }) => ok),
    problems,
    unreachable: responders.unreachable,
    results,
  };
}

/** From node to node, and from the first pod to the first pod, of each other node, in its first family. */
export function perfPairs(ownName: string, sources: readonly Source[], { nodes }: RespondersReport): Pair[] {
  const others = nodes.filter(({ node }) => node !== ownName);
  const pod = sources.find(({ name }) => name !== 'node');
  return others.flatMap(({ node, token, endpoints }) => {
    const toNode = endpoints.find((endpoint) => endpoint.pod === null);
    const toPod = endpoints.find((endpoint) => endpoint.pod !== null);
    const pair = (source: Source | undefined, endpoint: ResponderEndpoint | undefined): Pair[] =>
      source && endpoint ? [{ source, toNode: node, token, endpoint }] : [];
    return [...pair(sources[0], toNode), ...pair(pod, toPod)];
  });
}

async function measure(dialler: Dialler, pair: Pair, seconds: number): Promise<PerfResult> {
  const { source, toNode, token, endpoint } = pair;
  const names = { from: source.name, toNode, toPod: endpoint.pod, address: endpoint.address };
  try {
    const rtts = await withSocket(await dialler.dial(source.netns, endpoint, token, 'echo'), roundTrips);
    const bitsPerSecond = await withSocket(
      await dialler.dial(source.netns, endpoint, token, 'sink'),
      (socket) => throughput(socket, seconds),
    );
    rtts.sort((a, b) => a - b);
    return {
      ...names,
      ok: true,
      bitsPerSecond,
      rttMs: rtts[Math.floor(rtts.length / 2)]!,
      worstRttMs: rtts.at(-1)!,
    };
  } catch (error) {
    return {
      ...names,
      ok: false,
      bitsPerSecond: null,
      rttMs: null,
      worstRttMs: null,
      error: errorMessage(error),
    };
  }
}

async function withSocket<T>(socket: Socket, use: (socket: Socket) => Promise<T>): Promise<T> {
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
  const failed = new Promise<never>((_resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed')));
  });
  failed.catch(() => {});
  try {
    return await Promise.race([use(socket), failed]);
  } finally {
    socket.on('error', () => {});
    socket.destroy();
  }
}

async function roundTrips(socket: Socket): Promise<number[]> {
  const all: number[] = [];
  // The first one waits for the connection.
  for (let i = 0; i <= ECHOES; i++) {
    const sinceMs = performance.now();
    socket.write('x');
    await once(socket, 'data');
    if (i > 0) all.push(performance.now() - sinceMs);
  }
  return all;
}

/** What has arrived, over the time until the last of it had. */
async function throughput(socket: Socket, seconds: number): Promise<number> {
  await once(socket, 'connect');
  const sinceMs = performance.now();
  while (performance.now() - sinceMs < seconds * 1000) {
    if (!socket.write(CHUNK)) await once(socket, 'drain');
  }
  socket.end();
  const [told] = (await once(socket, 'data')) as [Buffer];
  return (Number(told.toString()) * 8) / ((performance.now() - sinceMs) / 1000);
}
