import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { generateClusterKey, parseKeyRing } from '../../src/link/key-ring.ts';
import { fingerprintOf } from '../../src/link/key-ring-state.ts';
import { timingPresets } from '../../src/membership/timing.ts';
import { SimulatedCluster, type SimulatedNode } from '../../src/simulate/cluster.ts';
import { inTime } from '../../src/simulate/in-time.ts';
import { RecordedAnswer } from '../helpers/recorded-answer.ts';

const newKey = () => new Uint8Array(randomBytes(32));

async function sealedCluster(seed: number, count: number) {
  const text = generateClusterKey();
  const keyRing = parseKeyRing(text, 'test');
  const cluster = new SimulatedCluster({ seed, keyRing });
  const nodes = await cluster.startAll(count);
  cluster.clock.advance(5_000);
  return { cluster, nodes, keyRing, oldKey: fingerprintOf(keyRing.keys[0]!) };
}

const list = (cluster: SimulatedCluster, node: SimulatedNode) => inTime(cluster.clock, node.keys.list());

describe.each([1, 2])('key rotation, seed %i', (seed) => {
  it('changes the key of a running cluster, and nobody is ever suspected', async () => {
    const { cluster, nodes, oldKey } = await sealedCluster(seed, 10);
    const [a, b] = nodes;
    const key = a!.keys.add(newKey());
    cluster.clock.advance(3_000);
    expect((await list(cluster, b!)).keys.find((one) => one.fingerprint === key)).toMatchObject({
      nodes: 10,
    });
    await inTime(cluster.clock, b!.keys.use(key, { force: false }));
    cluster.clock.advance(3_000);
    expect((await list(cluster, a!)).keys.find((one) => one.primary)).toMatchObject({
      fingerprint: key,
      primaryOn: 10,
    });
    await inTime(cluster.clock, nodes[4]!.keys.remove(oldKey, { force: false }));
    cluster.clock.advance(3_000);
    expect((await list(cluster, a!)).keys.map(({ fingerprint }) => fingerprint)).toEqual([key]);
    cluster.clock.advance(60_000);
    expect(cluster.agreesOnAlive(nodes)).toBe(true);
    for (const node of nodes) {
      const { suspicions, refusedKey } = node.membership.counters();
      expect({ suspicions, refusedKey }).toEqual({ suspicions: 0, refusedKey: 0 });
    }
    // The key file still has the old key; the state folder knows better.
    await nodes[7]!.kill();
    await nodes[7]!.start();
    cluster.clock.advance(5_000);
    expect(cluster.agreesOnAlive(nodes)).toBe(true);
  });

  it('reaches a node that was cut off, through push-pull', async () => {
    const { cluster, nodes } = await sealedCluster(seed, 5);
    const hosts = nodes.map((node) => node.host);
    cluster.network.partition(hosts.slice(0, 4), hosts.slice(4));
    cluster.clock.advance(30_000);
    const key = nodes[0]!.keys.add(newKey());
    cluster.clock.advance(30_000);
    cluster.network.heal();
    cluster.clock.advance(60_000);
    expect((await list(cluster, nodes[4]!)).keys.find((one) => one.fingerprint === key)).toMatchObject({
      nodes: 5,
    });
  });

  it('reaches a node that was cut off while the key was changed, and leaves one out that came too late', async () => {
    const { cluster, nodes, oldKey } = await sealedCluster(seed, 6);
    const hosts = nodes.map((node) => node.host);
    const [a, , , , e, f] = nodes;
    cluster.network.partition(hosts.slice(0, 4), [e!.host], [f!.host]);
    cluster.clock.advance(30_000);
    const key = a!.keys.add(newKey());
    cluster.clock.advance(3_000);
    await inTime(cluster.clock, a!.keys.use(key, { force: false }));
    cluster.clock.advance(3_000);
    cluster.network.partition(hosts.slice(0, 5), [f!.host]);
    const healed = nodes.slice(0, 5);
    expect(cluster.clock.advanceUntil(() => cluster.agreesOnAlive(healed), 60_000)).toBeLessThan(30_000);
    expect((await list(cluster, e!)).keys.find((one) => one.primary)).toMatchObject({
      fingerprint: key,
      primaryOn: 5,
    });
    const { suspicions } = e!.membership.counters();
    cluster.clock.advance(60_000);
    expect(cluster.agreesOnAlive(healed)).toBe(true);
    expect(e!.membership.counters().suspicions).toBe(suspicions);
    // Without its key nobody understands f any more, and it is told why.
    await inTime(cluster.clock, a!.keys.remove(oldKey, { force: false }));
    cluster.clock.advance(3_000);
    cluster.network.heal();
    cluster.clock.advance(60_000);
    expect(cluster.agreesOnAlive(healed)).toBe(true);
    expect(f!.membership.count('alive')).toBe(1);
    expect(f!.membership.problems()[0]).toMatch(/its cluster key or cluster name differs from ours/);
  });

  it('never brings a removed key back, however many were removed since', async () => {
    const { cluster, nodes, oldKey } = await sealedCluster(seed, 2);
    const { keys } = nodes[0]!;
    await nodes[1]!.kill();
    let last = '';
    for (let round = 0; round < 40; round++) {
      const next = keys.add(newKey());
      await inTime(cluster.clock, keys.use(next, { force: true }));
      await inTime(cluster.clock, keys.remove(round === 0 ? oldKey : last, { force: true }));
      last = next;
    }
    // Its key file still has the first one.
    await nodes[0]!.kill();
    await nodes[0]!.start();
    expect((await list(cluster, nodes[0]!)).keys.map(({ fingerprint }) => fingerprint)).toEqual([last]);
  });

  it('does not use a key that a member lacks, nor remove one that is in use', async () => {
    const { cluster, nodes, oldKey } = await sealedCluster(seed, 3);
    const [a] = nodes;
    const { keys } = a!;
    expect(() => keys.add(new Uint8Array(3))).toThrow(/32 bytes/);
    const key = keys.add(newKey());
    // News rides on datagrams; the question is a stream.
    cluster.network.reaches = (_from, _to, via) => via === 'stream';
    await expect(inTime(cluster.clock, keys.use(key, { force: false }))).rejects.toThrow(
      /2 nodes do not have the key/,
    );
    cluster.network.heal();
    await expect(inTime(cluster.clock, keys.use('0'.repeat(16), { force: true }))).rejects.toThrow(
      /no key 0000/,
    );
    cluster.clock.advance(3_000);
    await expect(inTime(cluster.clock, keys.remove(oldKey, { force: false }))).rejects.toThrow(
      /may still use/,
    );
    await expect(inTime(cluster.clock, keys.remove(oldKey, { force: true }))).rejects.toThrow(/is in use/);
    expect(() => keys.add(new Uint8Array(32).fill(1))).not.toThrow();
  });

  it('is refused where gossip is in clear text', async () => {
    const cluster = new SimulatedCluster({ seed });
    const a = cluster.add([]);
    await a.start();
    expect(() => a.keys.add(newKey())).toThrow(/has no key/);
  });
});

/** What a host has received, to be sent again. */
function recorder(node: SimulatedNode) {
  const datagrams: Uint8Array[] = [];
  const streams: Uint8Array[][] = [];
  const { handlers } = node.host;
  node.host.handlers = {
    datagram: (from, bytes) => {
      datagrams.push(new Uint8Array(bytes));
      handlers!.datagram(from, bytes);
    },
    accept: (from, responder) => {
      const inbound = handlers!.accept(from, responder);
      const frames: Uint8Array[] = [];
      streams.push(frames);
      return {
        ...inbound,
        frame: (bytes) => {
          frames.push(new Uint8Array(bytes));
          inbound.frame(bytes);
        },
      };
    },
  };
  return (to: SimulatedNode, from: SimulatedNode) => {
    // What is replayed to the same host is recorded again.
    for (const bytes of [...datagrams]) to.host.handlers!.datagram(from.host.endpoint, bytes);
    for (const frames of [...streams]) {
      const answer = new RecordedAnswer();
      const inbound = to.host.handlers!.accept(from.host.endpoint, answer);
      for (const bytes of frames) if (!answer.isEnded) inbound.frame(bytes);
    }
  };
}

describe('recorded frames', () => {
  /** Node 2 dies, and its time runs out on nodes 0 and 1. */
  async function withGhost() {
    const keyRing = parseKeyRing(generateClusterKey(), 'test');
    const timing = { ...timingPresets.lan, deadRetentionMs: 60_000, tombstoneRetentionMs: 1 };
    const cluster = new SimulatedCluster({ seed: 4, keyRing, timing });
    const [a, b, c] = await cluster.startAll(2);
    const joining = cluster.add();
    const replay = recorder(a!);
    await joining.start();
    joining.membership.updateSelf({});
    cluster.clock.advance(20_000);
    expect(a!.membership.member(joining.id)?.status).toBe('alive');
    await joining.kill();
    cluster.clock.advance(200_000);
    expect(a!.membership.member(joining.id)).toBeUndefined();
    expect(c).toBeUndefined();
    return { cluster, a: a!, b: b!, ghost: joining, replay };
  }

  it('do not bring a node back that is long gone: not on who received them, before or after a restart', async () => {
    const { cluster, a, b, ghost, replay } = await withGhost();
    replay(a, ghost);
    expect(a.membership.member(ghost.id)).toBeUndefined();
    await a.kill();
    await a.start();
    cluster.clock.advance(5_000);
    replay(a, ghost);
    cluster.clock.advance(5_000);
    for (const node of [a, b]) expect(node.membership.member(ghost.id)).toBeUndefined();
    expect(cluster.agreesOnAlive([a, b])).toBe(true);
  });

  it('do not bring it back on another node', async () => {
    const { cluster, a, b, ghost, replay } = await withGhost();
    const before = b.membership.counters().refusedSession!;
    replay(b, ghost);
    cluster.clock.advance(5_000);
    for (const node of [a, b]) expect(node.membership.member(ghost.id)).toBeUndefined();
    expect(b.membership.counters().refusedSession).toBeGreaterThan(before);
  });
});

describe('recorded datagrams', () => {
  it('are refused when they are sent again, also under the session of an earlier run', async () => {
    const { cluster, nodes } = await sealedCluster(3, 3);
    const [a, b, c] = nodes;
    const recorded: Uint8Array[] = [];
    const { handlers } = a!.host;
    a!.host.handlers = {
      ...handlers!,
      datagram: (from, bytes) => {
        recorded.push(new Uint8Array(bytes));
        handlers!.datagram(from, bytes);
      },
    };
    // A suspicion of c, and all else that b and c say to a.
    c!.host.pause(2_500);
    cluster.clock.advance(10_000);
    const replay = () => {
      for (const bytes of recorded) handlers!.datagram(b!.host.endpoint, bytes);
    };
    const before = a!.membership.counters();
    const digest = JSON.stringify(a!.membership.members().map(({ statusAgeMs: _, ...rest }) => rest.status));
    replay();
    expect(a!.membership.counters().refusedReplay! - before.refusedReplay!).toBe(recorded.length);
    // After a restart a has no memory of what it received; b and c run under new sessions.
    for (const node of nodes) {
      await node.kill();
      await node.start();
    }
    cluster.clock.advance(5_000);
    const second = a!.membership.counters();
    for (const bytes of recorded) a!.host.handlers!.datagram(b!.host.endpoint, bytes);
    expect(a!.membership.counters().refusedSession! - second.refusedSession!).toBeGreaterThan(0);
    expect(a!.membership.counters().suspicions).toBe(second.suspicions);
    expect(JSON.stringify(a!.membership.members().map((member) => member.status))).toBe(digest);
  });
});
