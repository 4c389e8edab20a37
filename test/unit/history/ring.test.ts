/** The samples of the last 15 minutes: how many, of whom, and what they are per second. */
import { describe, expect, it } from 'vitest';
import { MAX_PEER_SERIES, SAMPLES, SampleRing } from '../../../src/history/ring.ts';

const NOTHING = { outboundBytes: 0, inboundBytes: 0, outboundPackets: 0, inboundPackets: 0 };

function add(ring: SampleRing, peers: readonly [string, number][] = [], more: Partial<typeof NOTHING> = {}) {
  ring.add({
    timeMs: 1000 * ring.sequence,
    seconds: 5,
    totals: { ...NOTHING, ...more },
    drops: {},
    peers: peers.map(([key, outboundBytes]) => ({ key, outboundBytes, inboundBytes: 2 * outboundBytes })),
  });
}

describe('the ring of samples', () => {
  it('gives rates per second, oldest first, and only those after the one that was asked for', () => {
    const ring = new SampleRing();
    expect(ring.after(0)).toMatchObject({ sequence: 0, times: [], peers: [] });
    add(ring, [['a', 50]], { outboundBytes: 50 });
    add(ring, [['a', 100]], { outboundBytes: 100 });
    expect(ring.after(0)).toMatchObject({
      sequence: 2,
      times: [0, 1000],
      totals: { outboundBytes: [10, 20], inboundBytes: [0, 0] },
      peers: [{ key: 'a', outboundBytes: [10, 20], inboundBytes: [20, 40] }],
    });
    expect(ring.after(1).totals.outboundBytes).toEqual([20]);
    expect(ring.after(2).times).toEqual([]);
    expect(ring.after(99).times).toEqual([]);
  });

  it('keeps the last 15 minutes and nothing older, round and round', () => {
    const ring = new SampleRing();
    for (let i = 0; i < 3 * SAMPLES + 7; i++) add(ring, [['a', 5 * i]]);
    const { times, peers } = ring.after(0);
    expect(times).toHaveLength(SAMPLES);
    expect(times.at(-1)).toBe(1000 * (3 * SAMPLES + 6));
    expect(peers[0]!.outboundBytes).toEqual(times.map((time) => time / 1000));
  });

  it('shows only drop reasons that there were any of', () => {
    const ring = new SampleRing();
    ring.add({ timeMs: 0, seconds: 5, totals: NOTHING, drops: { never: 0, late: 0 }, peers: [] });
    ring.add({ timeMs: 1, seconds: 5, totals: NOTHING, drops: { never: 0, late: 10 }, peers: [] });
    ring.add({ timeMs: 2, seconds: 5, totals: NOTHING, drops: {}, peers: [] });
    expect(ring.after(0).drops).toEqual({ late: [0, 2, 0] });
    // What comes after it in the same place is not taken for it.
    ring.add({
      timeMs: 3,
      seconds: 5,
      totals: NOTHING,
      drops: {},
      peers: [{ key: 'a', outboundBytes: 9, inboundBytes: 9 }],
    });
    for (let i = 0; i < SAMPLES; i++) add(ring);
    expect(Math.max(...ring.after(0).drops.late!, ...ring.after(0).peers[0]!.outboundBytes)).toBe(0);
  });

  it('has as many peers as it may, those with the most traffic', () => {
    const ring = new SampleRing();
    const many = Array.from({ length: 500 }, (_, i): [string, number] => [`peer-${i}`, 10 + i]);
    for (let i = 0; i < 60; i++) add(ring, many);
    const names = ring.after(0).peers.map(({ key }) => key);
    expect(names).toHaveLength(MAX_PEER_SERIES);
    // One that is new and loud takes the place of a quiet one, without what that one had.
    add(ring, [['loud', 1_000_000]]);
    const loud = ring.after(0).peers.find(({ key }) => key === 'loud')!;
    expect(loud.outboundBytes.at(-1)).toBe(200_000);
    expect(loud.outboundBytes.slice(0, -1).every((rate) => rate === 0)).toBe(true);
    // One that is quiet takes nobody's place.
    add(ring, [['quiet', 1]]);
    expect(ring.after(0).peers.map(({ key }) => key)).not.toContain('quiet');
  });

  it('does not grow', () => {
    const ring = new SampleRing();
    for (let i = 0; i < 20 * SAMPLES; i++) add(ring, [[`peer-${i % 100}`, i]]);
    expect(JSON.stringify(ring.after(0)).length).toBeLessThan(200_000);
  });
});
