/** Captures of several nodes, over the requests between them. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunningCapture } from '../../src/capture/captures.ts';
import { BLOCK, blocksOf, interfaceOf, placeOf } from '../../src/capture/pcapng.ts';
import { type CaptureWishes, captureRequest } from '../../src/capture/request.ts';
import { World, type WorldNode } from './world.ts';

const LETS_OTHERS = 'api: {remoteCapture: true}';
let world: World;

beforeEach(() => {
  world = new World(1);
});
afterEach(async () => {
  await world.stop();
});

interface Captured {
  readonly names: string[];
  /** By interface. */
  readonly packets: { on: string; atUs: number; text: string }[];
  readonly missing: readonly { node: string; reason: string }[];
}

/** Captures on `node` while `work` happens. */
async function capture(
  node: WorldNode,
  wishes: CaptureWishes,
  work: () => void,
  signal = new AbortController().signal,
): Promise<Captured> {
  const pieces: Uint8Array[] = [];
  let running: RunningCapture | undefined;
  let isOver = false;
  const all = (async () => {
    running = await node.commands.capture(captureRequest.parse({ seconds: 5, ...wishes }), signal);
    for await (const piece of running.chunks) pieces.push(piece);
  })().finally(() => {
    isOver = true;
  });
  all.catch(() => {});
  await world.advance(1000);
  work();
  await world.until(() => isOver, 30_000);
  await all;
  const blocks = [...blocksOf(Buffer.concat(pieces))];
  const names = blocks.filter(({ type }) => type === BLOCK.interface).map((block) => interfaceOf(block).name);
  const packets = blocks
    .filter(({ type }) => type === BLOCK.packet)
    .map((block) => {
      const { interfaceId, atUs } = placeOf(block);
      return { on: names[interfaceId]!, atUs, text: Buffer.from(block.bytes).toString('latin1') };
    });
  return { names, packets, missing: running!.missing };
}

async function strayPacket(node: WorldNode): Promise<() => void> {
  const pod = await node.addPod('web');
  return () => void pod.send('10.42.255.9');
}

describe('with --all', () => {
  it('what each node drops is there, in order of time, under its name', async () => {
    const nodes = await world.cluster(3, { yaml: LETS_OTHERS });
    const strays = await Promise.all(nodes.map(strayPacket));
    const { packets, missing } = await capture(nodes[0]!, { all: true }, () => {
      for (const [i, stray] of strays.entries()) world.clock.after(300 * (3 - i), stray);
    });
    expect(missing).toEqual([]);
    expect(packets.map(({ on }) => on)).toEqual(
      ['node-2', 'node-1', 'node-0'].map((name) => `${name}:warren0-dropped`),
    );
    for (const { text } of packets) expect(text).toContain('dropped: outbound-no-route');
  });

  it('a node whose configuration does not allow it is missing, until a reload lets it', async () => {
    const nodes = await world.cluster(2);
    const stray = await strayPacket(nodes[1]!);
    const refused = await capture(nodes[0]!, { all: true }, stray);
    expect(refused).toMatchObject({ packets: [], missing: [{ node: 'node-1' }] });
    expect(refused.missing[0]!.reason).toContain('does not let this node');
    nodes[1]!.configFile = () => nodes[1]!.config(LETS_OTHERS);
    expect(await nodes[1]!.commands.reload()).toMatchObject({ changed: ['api.remoteCapture'] });
    const allowed = await capture(nodes[0]!, { all: true }, stray);
    expect([allowed.missing, allowed.packets.length]).toEqual([[], 1]);
  });

  it('without a cluster key a node hands out nothing', async () => {
    const nodes = await world.cluster(2, { yaml: LETS_OTHERS, clearText: true });
    expect((await capture(nodes[0]!, { all: true }, () => {})).missing).toMatchObject([{ node: 'node-1' }]);
  });

  it('one that goes away meanwhile is said to be missing', async () => {
    const nodes = await world.cluster(2, { yaml: LETS_OTHERS });
    const stray = await strayPacket(nodes[0]!);
    const { packets, missing } = await capture(nodes[0]!, { all: true, seconds: 20 }, () => {
      nodes[1]!.isDown = true;
      world.partition([nodes[0]!]);
      world.clock.after(5000, stray);
    });
    expect(missing.map(({ node }) => node)).toEqual(['node-1']);
    expect(packets.length).toBe(1);
    world.partition();
  });
});

it('filters by pod, peer and reason', async () => {
  const [node, other] = await world.cluster(2);
  const stray = await strayPacket(node!);
  const own = { on: 'warren0-dropped' };
  expect((await capture(node!, { pods: ['web'] }, stray)).packets).toMatchObject([own]);
  expect((await capture(node!, { pods: ['node-0/web'] }, stray)).packets).toMatchObject([own]);
  expect((await capture(node!, { peers: ['node-1'] }, stray)).packets).toEqual([]);
  expect((await capture(node!, { peers: ['node-0'] }, stray)).packets).toMatchObject([own]);
  expect((await capture(node!, { reasons: ['outbound-too-big'] }, stray)).packets).toEqual([]);
  expect((await capture(node!, { sides: ['inner'] }, stray)).packets).toEqual([]);
  await expect(capture(node!, { pods: ['none'] }, stray)).rejects.toMatchObject({ code: 'POD_UNKNOWN' });
  await expect(capture(node!, { peers: ['none'] }, stray)).rejects.toMatchObject({ code: 'MEMBER_UNKNOWN' });
  expect(other!.errors).toEqual([]);
});

it('ends with its bytes, or when nobody wants it any more, and four run at a time', async () => {
  const [node] = await world.cluster(1);
  const stray = await strayPacket(node!);
  const many = () => {
    for (let i = 0; i < 40; i++) world.clock.after(i * 200, stray);
  };
  const few = await capture(node!, { bytes: 2048, seconds: 60 }, many);
  expect(few.packets.length).toBeGreaterThan(2);
  expect(few.packets.length).toBeLessThan(20);

  const gone = new AbortController();
  await capture(node!, { seconds: 3600 }, () => void world.clock.after(500, () => gone.abort()), gone.signal);

  const iterators = [];
  for (let i = 0; i < 5; i++) {
    const running = node!.commands.capture(
      captureRequest.parse({ seconds: 1 }),
      new AbortController().signal,
    );
    iterators.push(running);
  }
  const outcomes = await Promise.allSettled(iterators);
  expect(outcomes.map(({ status }) => status)).toEqual([...Array(4).fill('fulfilled'), 'rejected']);
  expect(outcomes[4]).toMatchObject({ reason: { code: 'CAPTURE_LIMIT' } });
  const ends = outcomes.map(async (outcome) => {
    if (outcome.status === 'fulfilled') for await (const _ of outcome.value.chunks);
  });
  await world.advance(5000);
  await Promise.all(ends);
  expect((await capture(node!, {}, stray)).packets.length).toBe(1);
});
