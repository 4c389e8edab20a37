/**
 * Nothing is allocated per packet. The agents run with V8's own trace of garbage collections and a young
 * generation of 1 MB, so that every megabyte that the packet path's thread allocates shows as one line in the
 * agent's log, while 5 GB pass.
 *
 * What is left is one boxed number for each system call (an address is a number above 2^31), 16 bytes, the
 * smallest thing that V8 can allocate. With superpackets that is about one byte a packet; where each packet takes
 * system calls of its own, about twenty.
 */
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { whileListening } from '../../src/bench/listener.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode, RawConfig } from '../../src/lab/node.ts';
import { readGarbage } from '../helpers/garbage.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'garbage';
const TRACE = fileURLToPath(new URL('../helpers/trace-gc.cjs', import.meta.url));
const PORT = '5201';
/** 5 GB take ten seconds where nothing else runs. */
const TRANSFER_TIMEOUT_MS = 200_000;
/** Compilers are done after that. */
const WARM_UP_MB = 300;

interface Reading {
  readonly collections: number;
  readonly allocatedBytes: number;
  /** Inner packets in both directions. */
  readonly packets: number;
}

async function labThatTraces(config: RawConfig): Promise<Lab> {
  const before = process.env.NODE_OPTIONS;
  // The agents inherit it.
  process.env.NODE_OPTIONS = `--require ${TRACE} --max-semi-space-size=1`;
  try {
    return await Lab.up({
      encapsulation: 'vxlan-gpe',
      name: NAME,
      nodes: 2,
      pods: ['web'],
      config: () => config,
    });
  } finally {
    if (before === undefined) delete process.env.NODE_OPTIONS;
    else process.env.NODE_OPTIONS = before;
  }
}

async function transfer(lab: Lab, megabytes: number): Promise<void> {
  const [client, server] = [await lab.pod(0, 'web'), await lab.pod(1, 'web')];
  const address = server.address(4);
  await whileListening(server, ['iperf3', '-s', '-1', '-p', PORT, '--forceflush'], 'listening', async () => {
    const argv = ['iperf3', '-c', address, '-p', PORT, '-n', `${megabytes}M`];
    const { code, stdout, stderr } = await client.exec(argv, { timeoutMs: TRANSFER_TIMEOUT_MS });
    expect(code, stdout + stderr).toBe(0);
  });
}

async function read(node: LabNode): Promise<Reading> {
  const { outbound, inbound } = (await node.view()).status.datapath;
  const threads = readGarbage(node.log());
  // The third one made the pod's interfaces.
  expect([...threads.keys()].toSorted(), 'the main thread, one of the packet path').toEqual([0, 1, 2]);
  const { collections, allocatedBytes } = threads.get(1)!;
  return { collections, allocatedBytes, packets: outbound.packets + inbound.packets };
}

/** What `megabytes` of TCP make each node's packet path allocate, per packet. */
async function garbageOf(
  lab: Lab,
  megabytes: number,
): Promise<{ collections: number; bytesPerPacket: number }[]> {
  await transfer(lab, WARM_UP_MB);
  const before = await Promise.all(lab.nodes.map(read));
  await transfer(lab, megabytes);
  const after = await Promise.all(lab.nodes.map(read));
  return lab.nodes.map((_, i) => {
    const packets = after[i]!.packets - before[i]!.packets;
    // Full-size packets one way, at least.
    expect(packets).toBeGreaterThan((megabytes * 1e6) / 1500);
    return {
      collections: after[i]!.collections - before[i]!.collections,
      bytesPerPacket: (after[i]!.allocatedBytes - before[i]!.allocatedBytes) / packets,
    };
  });
}

describeUnless(lacking('root', 'ip', 'nsenter', 'iperf3'), 'garbage of the packet path', () => {
  afterEach(async () => {
    await Lab.remove(NAME);
  });

  test('5 GB in superpackets: next to none', { timeout: 300_000 }, async () => {
    const lab = await labThatTraces({});
    for (const { collections, bytesPerPacket } of await garbageOf(lab, 5000)) {
      // Measured: 6 collections and 1.2 to 1.6 bytes. 16 bytes a packet would be 60 collections, an object or a view 250.
      expect(bytesPerPacket).toBeLessThan(4);
      expect(collections).toBeLessThan(15);
    }
  });

  test('one packet per system call: a boxed address for each call, and no object', async () => {
    const lab = await labThatTraces({ datapath: { offload: 'off' } });
    // Measured: 20 bytes. The smallest object would add 32, a view of a buffer 100.
    for (const { bytesPerPacket } of await garbageOf(lab, 600)) expect(bytesPerPacket).toBeLessThan(45);
  });
});
