/**
 * How much the path between two nodes carries, as whole agents find it out: routers that drop what is too big without a
 * word, ICMP that lies and ICMP that tells the truth, and peers that answer nothing.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pathProbe } from '../helpers/memory-echoes.ts';
import { World, type WorldNode, type WorldPod } from './world.ts';

/** Outer IP, UDP and VXLAN-GPE headers. */
const OVERHEAD = 36;
const FULL = 1464;

let world: World;
let a: WorldNode;
let b: WorldNode;
let web: WorldPod;
let db: WorldPod;

beforeEach(async () => {
  world = new World(1);
  [a, b] = (await world.cluster(2)) as [WorldNode, WorldNode];
  web = await a.addPod('web');
  db = await b.addPod('db');
});
afterEach(() => world.stop());

const mtuOf = (node: WorldNode) => node.model.peers()[0]?.mtu;

/** A packet every 20 ms, of the most that the path is said to carry. */
async function talk(durationMs: number): Promise<void> {
  for (let ms = 0; ms < durationMs; ms += 20) {
    web.send(db.addresses[0]!, { bytes: mtuOf(a)! });
    db.send(web.addresses[0]!, { bytes: mtuOf(b)! });
    await world.advance(20);
  }
}

/** The time until packets arrive again at `pod`. */
async function timeToArrive(pod: WorldPod): Promise<number> {
  const before = pod.received.length;
  let ms = 0;
  for (; pod.received.length === before && ms < 20_000; ms += 20) await talk(20);
  return ms;
}

/** How many probes were sent into the tunnel since `from`. */
const probesSince = (from: number) =>
  world.carried.slice(from).filter(({ bytes }) => pathProbe(bytes.subarray(8))).length;

const silently = (mtu: number) => {
  world.pathMtu = () => mtu;
};

describe('a path that carries everything', () => {
  it('is shown with what its ends take, before and after it was probed', async () => {
    expect(mtuOf(a)).toBe(FULL);
    const start = world.carried.length;
    await talk(3000);
    expect(mtuOf(a)).toBe(FULL);
    // Requests and answers, once a second in each direction.
    expect(probesSince(start)).toBeLessThanOrEqual(14);
    expect(probesSince(start)).toBeGreaterThan(6);
  });

  it('is not probed while nothing is sent, and both ends fall silent after their traffic', async () => {
    // First contact, of which groups are probed.
    await world.advance(10_000);
    const start = world.carried.length;
    await world.advance(60_000);
    expect(world.carried.length).toBe(start);
    await talk(1000);
    await world.advance(2000);
    const end = world.carried.length;
    await world.advance(600_000);
    expect(world.carried.length).toBe(end);
  });

  it('does not believe an ICMP that nobody on it sent', async () => {
    await talk(1000);
    const heard = web.received.length;
    for (const lie of [552, 68, 1300, 1499, 900]) {
      a.host.learnedMtus.set('192.0.2.2', lie);
      const before = db.received.length;
      for (let i = 0; i < 100; i++) {
        web.send(db.addresses[0]!, { bytes: FULL });
        await world.advance(20);
        expect(mtuOf(a)).toBe(FULL);
      }
      expect(db.received.length).toBe(before + 100);
    }
    // No pod was told anything.
    expect(web.received.length).toBe(heard);
  });
});

describe('a router that drops what is too big without a word', () => {
  it('is found within 5 s, and packets go on in the size that fits', async () => {
    await talk(1000);
    silently(1350);
    expect(await timeToArrive(db)).toBeLessThan(5000);
    await talk(1000);
    expect([mtuOf(a), mtuOf(b)]).toEqual([1350 - OVERHEAD, 1350 - OVERHEAD]);
    // Whoever still sends more is told what fits.
    web.send(db.addresses[0]!, { bytes: FULL });
    await world.advance(5);
    const answer = Buffer.from(web.received.at(-1)!);
    expect([answer.readUInt16BE(20), answer.readUInt16BE(26)]).toEqual([0x0304, 1350 - OVERHEAD]);
  });

  it('is found on the way there alone, and the way back is not taken for small', async () => {
    world.pathMtu = (from) => (from === a ? 1350 : 1500);
    await talk(8000);
    expect(mtuOf(a)).toBe(1350 - OVERHEAD);
    await talk(30_000);
    expect(mtuOf(a)).toBe(1350 - OVERHEAD);
    expect(mtuOf(b)).toBe(FULL);
  });

  it('on the way back alone does not make the way there look small, not even for a moment', async () => {
    await talk(1000);
    world.pathMtu = (from) => (from === a ? 1350 : 1500);
    for (let ms = 0; ms < 15_000; ms += 100) {
      await talk(100);
      expect(mtuOf(b)).toBe(FULL);
    }
    expect(mtuOf(a)).toBe(1350 - OVERHEAD);
  });

  it('that carries less than IPv6 needs still lets its packets of 1280 bytes pass, divided', async () => {
    silently(1300);
    await talk(8000);
    expect(mtuOf(a)).toBe(1300 - OVERHEAD);
    const before = db.received.length;
    web.send(db.addresses[1]!, { bytes: 1280 });
    await world.advance(5);
    expect(db.received.length).toBe(before + 1);
  });

  it('is gone again after a while, and that is found', async () => {
    silently(1350);
    await talk(5000);
    expect(mtuOf(a)).toBe(1350 - OVERHEAD);
    silently(1500);
    await talk(15_000);
    expect([mtuOf(a), mtuOf(b)]).toEqual([FULL, FULL]);
  });
});

describe('ICMP that tells the truth', () => {
  it('is believed within a second', async () => {
    await talk(1000);
    silently(1350);
    for (const [node, other] of [
      [a, '192.0.2.2'],
      [b, '192.0.2.1'],
    ] as const) {
      node.host.learnedMtus.set(other, 1350);
    }
    expect(await timeToArrive(db)).toBeLessThan(1000);
    expect(mtuOf(a)).toBe(1350 - OVERHEAD);
  });
});

describe('the routing tables', () => {
  it('are believed at once, though probes of more pass', async () => {
    a.host.configuredMtus.set('192.0.2.2', 1400);
    await talk(500);
    expect(mtuOf(a)).toBe(1400 - OVERHEAD);
    expect(mtuOf(b)).toBe(FULL);
    a.host.configuredMtus.delete('192.0.2.2');
    await talk(2000);
    expect(mtuOf(a)).toBe(FULL);
  });
});

describe('a peer that answers no probes', () => {
  it('leaves ICMP to be believed, but not below what the overlay needs', async () => {
    b.host.answersEchoes = false;
    await talk(6000);
    expect(mtuOf(a)).toBe(FULL);
    a.host.learnedMtus.set('192.0.2.2', 552);
    await talk(500);
    expect(mtuOf(a)).toBe(1280);
  });

  it('is no other than one that cannot be asked', async () => {
    a.host.failing.set('openEchoes', new Error('no CAP_NET_RAW'));
    await talk(6000);
    a.host.learnedMtus.set('192.0.2.2', 1400);
    await talk(500);
    expect(mtuOf(a)).toBe(1400 - OVERHEAD);
    expect(mtuOf(b)).toBe(FULL);
  });

  it('changes nothing by being away', async () => {
    await talk(1000);
    b.host.answersEchoes = false;
    await talk(20_000);
    expect(mtuOf(a)).toBe(FULL);
  });
});
