/** The questions of `warren check` and `warren key` to other nodes. */
import { beforeEach, describe, expect, it } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import { askAllKeyFingerprints, serveKeyFingerprints } from '../../../src/rpc/key-fingerprints.ts';
import { keysType, targetsType } from '../../../src/rpc/proto.ts';
import type { Rpc } from '../../../src/rpc/rpc.ts';
import {
  askAllTargets,
  askTargets,
  MAX_POD_TARGETS,
  type NodeTargets,
  serveTargets,
} from '../../../src/rpc/targets.ts';
import { settled } from '../../../src/simulate/in-time.ts';
import { CallHarness, type CallingNode } from './call-harness.ts';

let cluster: CallHarness;
let a: CallingNode;
let b: CallingNode;
let c: CallingNode;

beforeEach(async () => {
  cluster = new CallHarness('sealed');
  a = await cluster.start(0);
  b = await cluster.start(1);
  c = await cluster.start(2);
});

const named = ({ id, number }: CallingNode) => ({ id, name: `node-${number}` });
const answering = (node: CallingNode, method: string, part: Uint8Array) =>
  node.rpc.serve(method, () => [part]);

describe('targets', () => {
  const targets: NodeTargets = {
    node: 'node-1',
    addresses: ['10.0.0.1', 'fd00::1'],
    pods: [
      { name: 'web', addresses: ['10.0.0.2', 'fd00::2'] },
      { name: 'db', addresses: [] },
    ],
  };

  it('are told, however many pods there are, up to a bound', async () => {
    let told = targets;
    serveTargets(b.rpc, () => told);
    expect(await cluster.inTime(askTargets(a.rpc, b.id))).toEqual(targets);
    told = { node: 'node-1', addresses: [], pods: [] };
    expect(await cluster.inTime(askTargets(a.rpc, b.id))).toEqual(told);
    const pods = Array.from({ length: 5000 }, (_, i) => ({
      name: `pod-${i}`.padEnd(63, 'x'),
      addresses: ['10.42.255.255', 'fd42:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
    }));
    told = { ...targets, pods };
    const all = await cluster.inTime(askTargets(a.rpc, b.id));
    expect(all.pods).toEqual(pods.slice(0, MAX_POD_TARGETS));
  });

  it('leave out a pod whose name is no host name', async () => {
    serveTargets(b.rpc, () => ({
      ...targets,
      pods: [{ name: 'a\u001b[31m', addresses: [] }, ...targets.pods],
    }));
    expect(await cluster.inTime(askTargets(a.rpc, b.id))).toEqual(targets);
  });

  it.each([
    ['a name with an escape', { node: 'a\u001b[31m' }],
    ['a name of 64 characters', { node: 'n', pods: [{ name: 'a'.repeat(64) }] }],
    ['nine addresses', { node: 'n', pods: [{ name: 'web', addresses: Array(9).fill(new Uint8Array(4)) }] }],
    ['an address of five bytes', { node: 'n', addresses: [new Uint8Array(5)] }],
    ['no name', {}],
    ['more pods in a part than are told', { node: 'n', pods: Array(257).fill({ name: 'web' }) }],
  ])('with %s are refused', async (_what, raw) => {
    answering(b, 'targets', targetsType.encode(raw).finish());
    await expect(cluster.inTime(askTargets(a.rpc, b.id))).rejects.toMatchObject({ code: 'RPC_REFUSED' });
  });

  it('of all nodes come by name, and those that cannot be asked with the reason', async () => {
    serveTargets(b.rpc, () => targets);
    const d = await cluster.start(3);
    serveTargets(d.rpc, () => ({ ...targets, node: 'aaa' }));
    const result = await cluster.inTime(askAllTargets(a.rpc, [b, c, d].map(named)));
    expect(result.targets.map(({ node }) => node)).toEqual(['aaa', 'node-1']);
    expect(result.unreachable).toEqual([{ node: 'node-2', reason: expect.stringContaining('targets') }]);
  });
});

describe('key fingerprints', () => {
  it('of all nodes are told, and who does not answer is silent', async () => {
    const mine = ['00112233445566aa', 'ffeeddccbbaa9900'];
    serveKeyFingerprints(b.rpc, () => mine);
    serveKeyFingerprints(c.rpc, () => undefined);
    const d = await cluster.start(3);
    answering(d, 'keys', keysType.encode({ primary: new Uint8Array(7) }).finish());
    const { answers, silent } = await cluster.inTime(askAllKeyFingerprints(a.rpc, [b, c, d].map(named)));
    expect(answers).toEqual([{ name: 'node-1', primary: mine[0], all: mine }]);
    expect([...silent].sort()).toEqual(['node-2', 'node-3']);
  });
});

it('at most sixteen are asked at the same time, and each once', async () => {
  const open: (() => void)[] = [];
  const asked: string[] = [];
  const rpc = {
    async call(id: string): Promise<Uint8Array[]> {
      asked.push(id);
      await new Promise<void>((resolve) => open.push(resolve));
      throw new WarrenError('RPC_UNREACHABLE', 'no answer');
    },
  } as Partial<Rpc> as Rpc;
  const nodes = Array.from({ length: 40 }, (_, i) => ({ id: `id-${i}`, name: `node-${i}` }));
  const done = askAllTargets(rpc, nodes);
  let most = 0;
  while (asked.length < 40 || open.length > 0) {
    await settled();
    most = Math.max(most, open.length);
    open.shift()?.();
  }
  expect((await done).unreachable).toHaveLength(40);
  expect(most).toBe(16);
  expect(asked).toEqual(nodes.map(({ id }) => id));
});
