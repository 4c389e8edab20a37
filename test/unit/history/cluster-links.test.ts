/** Asking all nodes whom they talk to: how often, and what becomes of answers that make no sense. */
import { beforeEach, describe, expect, it } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import { ClusterLinks, type OwnLink } from '../../../src/history/cluster-links.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

const OWN: OwnLink[] = [{ to: 'b', outboundBytes: 5, isSealed: true }];
let clock: VirtualClock;
let asked: string[];
let answers: Record<string, unknown>;

function links(isSealed = true, members = ['b', 'c']): ClusterLinks {
  return new ClusterLinks({
    clock,
    selfId: 'a',
    isSealed,
    own: () => OWN,
    others: () => members.map((id) => ({ id, status: id === 'dead' ? 'dead' : 'alive' })),
    rpc: {
      call: async (id: string) => {
        asked.push(id);
        if (!(id in answers)) throw new WarrenError('RPC_UNREACHABLE', 'no answer');
        return [Buffer.from(typeof answers[id] === 'string' ? answers[id] : JSON.stringify(answers[id]))];
      },
    } as never,
  });
}

beforeEach(() => {
  clock = new VirtualClock();
  asked = [];
  answers = { b: [{ to: 'c', outboundBytes: 7, isSealed: false }] };
});

describe('links of the cluster', () => {
  it('are those of this node and of the nodes that answer', async () => {
    expect(await links(true, ['b', 'c', 'dead']).links()).toEqual([
      { from: 'a', to: 'b', outboundBytes: 5, isSealed: true },
      { from: 'b', to: 'c', outboundBytes: 7, isSealed: false },
    ]);
    expect(asked).toEqual(['b', 'c']);
  });

  it('are asked for no more than every 8 s, however many look', async () => {
    const all = links();
    await Promise.all([all.links(), all.links(), all.links()]);
    expect(asked).toEqual(['b', 'c']);
    await clock.run(9000);
    await all.links();
    expect(asked).toHaveLength(4);
  });

  it.each<[string, unknown]>([
    ['no JSON', '{'],
    ['no list', { to: 'c' }],
    ['a negative rate', [{ to: 'c', outboundBytes: -1, isSealed: true }]],
    ['an endless id', [{ to: 'c'.repeat(100), outboundBytes: 1, isSealed: true }]],
    ['too many', new Array(33).fill({ to: 'c', outboundBytes: 1, isSealed: true })],
  ])('do without a node that answers with %s', async (_what, answer) => {
    answers.b = answer;
    expect(await links().links()).toHaveLength(1);
  });

  it('of a large cluster are those of 256 nodes', async () => {
    await links(
      true,
      Array.from({ length: 1000 }, (_, i) => `n${i}`),
    ).links();
    expect(asked).toHaveLength(256);
  });

  it('are told to nobody in a cluster without a key, and nobody is asked', async () => {
    const clear = links(false);
    expect(() => clear.answer()).toThrow(/no key/);
    expect(await clear.links()).toHaveLength(1);
    expect(asked).toEqual([]);
    expect(JSON.parse(Buffer.concat([...links().answer()]).toString())).toEqual(OWN);
  });
});
