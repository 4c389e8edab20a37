/** What the page makes of what the agent says: rates of counters, samples in a row, what is shown of a cluster. */
import { describe, expect, it } from 'vitest';
import type { HistoryReport, PeerReport } from '../../../src/readmodel/reports.ts';
import { foreignLinks } from '../../../ui/model/foreign-links.ts';
import { nodesOf } from '../../../ui/model/nodes.ts';
import { type Action, EMPTY, MAX_SAMPLES, peerKey, reduce, type State } from '../../../ui/model/state.ts';
import { FakeAgent, fakePeers, fakeStatus } from '../../helpers/fake-agent.ts';

const peer = fakePeers[0]!;

function run(...actions: readonly Action[]): State {
  return actions.reduce(reduce, EMPTY);
}
function topic(name: string, value: unknown, atMs = 0): Action {
  return { type: 'topic', topic: name, value, atMs };
}
function counted(outbound: number, inbound: number): PeerReport[] {
  return [{ ...peer, outbound: { packets: 0, bytes: outbound }, inbound: { packets: 0, bytes: inbound } }];
}
function history(
  sequence: number,
  rates: readonly number[],
  more: Partial<HistoryReport> = {},
): HistoryReport {
  return {
    sequence,
    intervalSeconds: 5,
    times: rates.map((_, i) => sequence - rates.length + 1 + i),
    totals: { outboundBytes: rates, inboundBytes: rates, outboundPackets: rates, inboundPackets: rates },
    drops: {},
    peers: [],
    ...more,
  };
}

describe('rates of a link', () => {
  const rate = (state: State) => state.rates.get(peerKey(peer));

  it('come of two counts, by the time between them', () => {
    const first = run(topic('peers', counted(1000, 0), 0));
    expect(rate(first)).toBeUndefined();
    const second = reduce(first, topic('peers', counted(5000, 200), 2000));
    expect(rate(second)).toEqual({ outbound: 2000, inbound: 100 });
  });

  it('stay when something else of a peer changes right after', () => {
    const state = run(
      topic('peers', counted(0, 0), 0),
      topic('peers', counted(2000, 0), 2000),
      topic('peers', counted(2001, 0), 2100),
      topic('peers', counted(4000, 0), 4000),
    );
    expect(rate(state)).toEqual({ outbound: 1000, inbound: 0 });
  });

  it('are right after the agent was started anew, and gone with the connection', () => {
    const anew = run(topic('peers', counted(9000, 0), 0), topic('peers', counted(100, 0), 1000));
    expect(rate(anew)).toEqual({ outbound: 100, inbound: 0 });
    expect(reduce(anew, { type: 'lost', atMs: 1 }).rates.size).toBe(0);
  });
});

describe('samples', () => {
  const whole = (value: HistoryReport): Action => ({ type: 'history', value, isWhole: true });
  const more = (value: HistoryReport): Action => ({ type: 'history', value, isWhole: false });

  it('go on where they were', () => {
    const { history: all } = run(
      whole(history(3, [1, 2, 3])),
      more(history(5, [4, 5])),
      more(history(5, [])),
    );
    expect(all.totals.outboundBytes).toEqual([1, 2, 3, 4, 5]);
    expect(all.times).toEqual([1, 2, 3, 4, 5]);
  });

  it('are no more than 15 minutes', () => {
    const full = history(MAX_SAMPLES, new Array(MAX_SAMPLES).fill(1));
    const { history: all } = run(whole(full), more(history(MAX_SAMPLES + 2, [2, 3])));
    expect(all.times).toHaveLength(MAX_SAMPLES);
    expect(all.totals.inboundBytes.slice(-3)).toEqual([1, 2, 3]);
  });

  it('begin anew with the agent, or where some are missing', () => {
    const before = whole(history(50, [1, 2, 3]));
    expect(run(before, whole(history(60, [9]))).history.totals.outboundBytes).toEqual([9]);
    expect(run(before, more(history(2, [7, 8]))).history.totals.outboundBytes).toEqual([7, 8]);
    expect(run(before, more(history(90, [7, 8]))).history.totals.outboundBytes).toEqual([7, 8]);
  });

  it('have peers and reasons from when there was anything of them', () => {
    const b = { name: 'b', id: 'b' };
    const { history: all } = run(
      whole(history(2, [1, 1], { peers: [{ ...b, outboundBytes: [5, 5], inboundBytes: [0, 0] }] })),
      more(
        history(3, [1], {
          drops: { late: [4] },
          peers: [
            { ...b, outboundBytes: [6], inboundBytes: [1] },
            { name: 'c', id: 'c', outboundBytes: [7], inboundBytes: [2] },
          ],
        }),
      ),
    );
    expect(all.drops).toEqual({ late: [0, 0, 4] });
    expect(all.peers.map(({ outboundBytes }) => outboundBytes)).toEqual([
      [5, 5, 6],
      [0, 0, 7],
    ]);
  });
});

describe('the connection', () => {
  it('is lost since the first loss, keeps what is known, and comes back', () => {
    const lost = run(
      topic('status', fakeStatus),
      { type: 'live' },
      { type: 'lost', atMs: 5 },
      { type: 'lost', atMs: 9 },
    );
    expect(lost.connection).toEqual({ is: 'lost', sinceMs: 5 });
    expect(lost.status).toBe(fakeStatus);
    expect(reduce(lost, { type: 'live' }).connection).toEqual({ is: 'live' });
  });

  it('that is refused leaves nothing to be seen', () => {
    const refused = run(topic('status', fakeStatus), { type: 'refused', why: 'no token' });
    expect(refused.status).toBeUndefined();
  });

  it('passes over topics of a later agent', () => {
    expect(run(topic('weather', 'fine'))).toEqual(EMPTY);
  });
});

describe('the nodes of a cluster', () => {
  const agent = new FakeAgent();
  const state = (peers: readonly PeerReport[]) =>
    run(topic('status', fakeStatus), topic('inventory', agent.inventory()), topic('peers', peers));

  it('are this one first, with their pods', () => {
    const [own, b, legacy] = nodesOf(state(fakePeers));
    expect(own).toMatchObject({ name: 'node-a', isSelf: true, health: 'well' });
    expect(own!.pods.map(({ name }) => name)).toEqual(['web']);
    expect(b).toMatchObject({ name: 'node-b', health: 'well', sealing: 'clear' });
    expect(b!.pods.map(({ name }) => name)).toEqual(['db']);
    expect(legacy).toMatchObject({ health: 'static', pods: [] });
  });

  it.each([
    [{ status: 'suspect' }, 'suspect', 'clear'],
    [{ status: 'dead' }, 'dead', 'clear'],
    [{ unreachable: 'another key' }, 'cut', 'clear'],
    [{ status: 'dead', unreachable: 'gone' }, 'dead', 'clear'],
    [{ sessionAgeSeconds: 5 }, 'well', 'sealed'],
  ] as const)('of which one is %o are %s and %s', (facts, health, sealing) => {
    expect(nodesOf(state([{ ...peer, ...facts } as PeerReport]))[1]).toMatchObject({ health, sealing });
  });

  it('are none before the agent has said who it is', () => {
    expect(nodesOf(EMPTY)).toEqual([]);
  });
});

it('links between other nodes are one for each pair, clear text if one of them sends it', () => {
  const link = (from: string, to: string, outboundBytes: number, isSealed = true) => ({
    from,
    to,
    outboundBytes,
    isSealed,
  });
  const links = [
    link('b', 'c', 1),
    link('c', 'b', 2, false),
    link('a', 'b', 4),
    link('c', 'a', 8),
    link('d', 'd', 9),
  ];
  expect(foreignLinks(links, 'a')).toEqual([{ a: 'b', b: 'c', rate: 3, isSealed: false }]);
});
