import { once } from 'node:events';
import { Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import { identityFromSeed } from '../../../src/identity.ts';
import { formatAddress, type IpAddress, parseAddress } from '../../../src/ip/address.ts';
import { ClusterKeys } from '../../../src/link/cluster-keys.ts';
import { generateClusterKey, type KeyRing, parseKeyRing } from '../../../src/link/key-ring.ts';
import { Sealer } from '../../../src/link/seal.ts';
import { MAX_PER_ADDRESS, MAX_UNPROVEN, PROOF_MS } from '../../../src/link/stream-admission.ts';
import type { TransportHandlers } from '../../../src/link/transport.ts';
import { UdpTcpTransport } from '../../../src/link/udp-tcp-transport.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { Membership } from '../../../src/membership/membership.ts';
import { timingPresets } from '../../../src/membership/timing.ts';
import { deafStream } from '../../helpers/recorded-answer.ts';

const loopback = parseAddress('127.0.0.1');
const running: Membership[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((membership) => membership.stop()));
});

async function freePort(): Promise<number> {
  const transport = new UdpTcpTransport({ bind: { address: loopback, port: 0 }, logger: silentLogger });
  await transport.open({ datagram: () => {}, accept: () => deafStream });
  const { port } = transport.local!;
  await transport.close();
  return port;
}

async function startNode(
  number: number,
  seeds: number[],
  keyRing?: KeyRing,
): Promise<{ membership: Membership; port: number }> {
  const port = await freePort();
  const gossip = { address: loopback, port };
  const membership = new Membership({
    identity: identityFromSeed(new Uint8Array(32).fill(number)),
    clusterName: 'test',
    keyRing: keyRing && new ClusterKeys(keyRing),
    self: {
      name: `node-${number}`,
      gossip,
      vtep: { address: loopback, port: 4790 },
      encapsulation: { type: 'vxlan-gpe', vni: 42, partialChecksums: false },
    },
    seeds: seeds.map((seed) => ({ host: '127.0.0.1', port: seed })),
    transport: new UdpTcpTransport({ bind: gossip, logger: silentLogger }),
    store: { load: () => undefined, save: () => {} },
    logger: silentLogger,
    timing: { ...timingPresets.local, probeIntervalMs: 100, probeTimeoutMs: 50 },
  });
  running.push(membership);
  await membership.start();
  return { membership, port };
}

function until(membership: Membership, holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!holds()) return;
      membership.off('change', look);
      resolve();
    };
    membership.on('change', look);
    look();
  });
}

const statuses = (membership: Membership) =>
  Object.fromEntries(membership.members().map((member) => [member.name, member.status]));

describe('membership over UDP and TCP on loopback', () => {
  it('three nodes join, one that stops silently is dead for the others, one that leaves has left', async () => {
    const keyRing = parseKeyRing(generateClusterKey(), 'test');
    const a = await startNode(1, [], keyRing);
    const b = await startNode(2, [a.port], keyRing);
    const c = await startNode(3, [a.port], keyRing);
    expect(await a.membership.joined).toBe('alone');
    expect(await b.membership.joined).toBe('joined');
    expect(await c.membership.joined).toBe('joined');
    for (const { membership } of [a, b, c]) await until(membership, () => membership.members().length === 3);

    await c.membership.stop();
    await until(a.membership, () => statuses(a.membership)['node-3'] === 'dead');
    await b.membership.leave();
    await until(a.membership, () => statuses(a.membership)['node-2'] === 'left');
    expect(a.membership.counters().refusedKey).toBe(0);
  });

  it('a node with another key is told so, stays out, and is not seen', async () => {
    const a = await startNode(1, [], parseKeyRing(generateClusterKey(), 'test'));
    const b = await startNode(2, [a.port], parseKeyRing(generateClusterKey(), 'test'));
    const c = await startNode(3, [a.port]);
    for (const { membership } of [b, c]) {
      while (membership.problems().length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(b.membership.problems()[0]).toBe(
      `seed 127.0.0.1:${a.port} refused us: its cluster key or cluster name differs from ours`,
    );
    expect(c.membership.problems()[0]).toMatch(/it has a cluster key, and this node has none/);
    expect(b.membership.outcome).toBe('joining');
    expect(a.membership.members()).toHaveLength(1);
    expect(a.membership.counters().refusedKey).toBeGreaterThan(0);
    expect(a.membership.counters().refusedClear).toBeGreaterThan(0);
  });

  it('says when its port is taken or its address is not of this host', async () => {
    const a = await startNode(1, []);
    const taken = new UdpTcpTransport({ bind: { address: loopback, port: a.port }, logger: silentLogger });
    const handlers = { datagram: () => {}, accept: () => deafStream };
    await expect(taken.open(handlers)).rejects.toThrow(WarrenError);
    await expect(taken.open(handlers)).rejects.toThrow(/in use/);
    const elsewhere = new UdpTcpTransport({
      bind: { address: parseAddress('192.0.2.77'), port: 0 },
      logger: silentLogger,
    });
    await expect(elsewhere.open(handlers)).rejects.toThrow(/no such address/);
  });
});

describe('streams from others', () => {
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });

  /** Connects and says nothing. Resolves to what it is refused with, or undefined once `accepted` has grown. */
  async function connect(
    port: number,
    from: string,
    accepted: { count: number },
  ): Promise<string | undefined> {
    const before = accepted.count;
    const socket = new Socket();
    sockets.push(socket);
    socket.connect({ host: '127.0.0.1', port, localAddress: from });
    const answer = once(socket, 'data').then(([bytes]) => bytes as Buffer);
    for (;;) {
      const bytes = await Promise.race([
        answer,
        new Promise<undefined>((resolve) => setImmediate(resolve, undefined)),
      ]);
      if (bytes) {
        const opened = new Sealer('test', undefined).open(bytes.subarray(4));
        return !opened.ok && opened.reason === 'refused' ? opened.code : 'something else';
      }
      if (accepted.count > before) return undefined;
    }
  }

  async function withTransport(
    handlers: Partial<TransportHandlers>,
    work: (port: number, accepted: { count: number }) => Promise<void>,
  ): Promise<void> {
    const accepted = { count: 0 };
    const transport = new UdpTcpTransport({ bind: { address: loopback, port: 0 }, logger: silentLogger });
    await transport.open({
      datagram: () => {},
      accept: () => {
        accepted.count++;
        return deafStream;
      },
      ...handlers,
    });
    try {
      await work(transport.local!.port, accepted);
    } finally {
      await transport.close();
    }
  }

  it('are bounded from one address, and the next is refused as busy until one is over', async () => {
    await withTransport({}, async (port, accepted) => {
      for (let i = 0; i < MAX_PER_ADDRESS; i++) {
        expect(await connect(port, '127.0.0.1', accepted)).toBeUndefined();
      }
      expect(await connect(port, '127.0.0.1', accepted)).toBe('busy');
      sockets[0]!.destroy();
      // Its end has to reach the other side.
      let refusal: string | undefined = 'busy';
      for (let tries = 0; tries < 100 && refusal === 'busy'; tries++) {
        refusal = await connect(port, '127.0.0.1', accepted);
      }
      expect(refusal).toBeUndefined();
    });
  });

  it("of members get in while idle strangers take all that is theirs, and nothing from 'outside' is looked at", async () => {
    const origin = (address: IpAddress) =>
      (({ '127.0.0.50': 'member', '127.0.0.60': 'outside' }) as const)[formatAddress(address)] ?? 'stranger';
    await withTransport({ origin }, async (port, accepted) => {
      for (let i = 0; i < MAX_UNPROVEN; i++) await connect(port, `127.0.0.${1 + (i % 16)}`, accepted);
      expect(accepted.count).toBe(MAX_UNPROVEN);
      expect(await connect(port, '127.0.0.50', accepted)).toBeUndefined();
      expect(accepted.count).toBe(MAX_UNPROVEN + 1);
      const outsider = new Socket();
      sockets.push(outsider);
      outsider.on('error', () => {});
      outsider.connect({ host: '127.0.0.1', port, localAddress: '127.0.0.60' });
      await once(outsider, 'close');
      expect(accepted.count).toBe(MAX_UNPROVEN + 1);
    });
  });

  it('are cut when they have not shown in two seconds that they have the key, drop by drop or not', async () => {
    await withTransport({}, async (port, accepted) => {
      const startedAtMs = performance.now();
      await connect(port, '127.0.0.2', accepted);
      const dripping = sockets.at(-1)!;
      dripping.on('error', () => {});
      const drip = setInterval(() => dripping.write(Buffer.of(0)), 100);
      // With an error where a drop was on its way just then.
      await new Promise((resolve) => dripping.once('close', resolve));
      clearInterval(drip);
      const tookMs = performance.now() - startedAtMs;
      expect(tookMs).toBeGreaterThan(PROOF_MS - 100);
      // Counted anew with each drop it would never be; a busy machine stalls for seconds.
      expect(tookMs).toBeLessThan(PROOF_MS + 15_000);
    });
  });

  it('64 idle connections from many addresses keep nobody out who has the key', async () => {
    const keyRing = parseKeyRing(generateClusterKey(), 'test');
    const a = await startNode(1, [], keyRing);
    await a.membership.joined;
    for (let i = 0; i < MAX_UNPROVEN; i++) {
      const socket = new Socket();
      sockets.push(socket);
      socket.on('error', () => {});
      socket.connect({ host: '127.0.0.1', port: a.port, localAddress: `127.0.1.${1 + (i % 32)}` });
      await once(socket, 'connect');
    }
    const b = await startNode(2, [a.port], keyRing);
    expect(await b.membership.joined).toBe('joined');
  });
});
