/**
 * Packets that the kernel had no room for: with a packet path thread held, pods send more, both ways, than the queue of its
 * TUN and its socket take. What was sent and did not come is in the counters, to the packet.
 */
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { silence } from '../helpers/packet-filter.ts';
import { type Listener, Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { FrozenThread, NO_FREEZER, packetThread } from '../helpers/thread-freezer.ts';

/** Some 10,000 of these fill the 4 MB of a socket; 500 the queue of a TUN. */
const DATAGRAMS = 30_000;
const MOST_DATAGRAMS = 10 * DATAGRAMS;

const LACKING = lacking('root', 'ip', 'nft', 'nsenter') ?? NO_FREEZER;

describeUnless(LACKING, 'what queue and socket do not take', () => {
  let lab: Lab;
  const probes: Probe[] = [];
  const addresses: string[] = [];

  beforeAll(async () => {
    // The kernel counts a group of datagrams once.
    const config = () => ({ datapath: { workers: 1, offload: { udpSegment: false } } });
    lab = await Lab.up({ encapsulation: 'vxlan-gpe', name: 'losses', nodes: 2, pods: 1, config });
    for (const node of lab.nodes) await silence(node);
    for (const node of [0, 1]) {
      const pod = await lab.pod(node, 'pod-1');
      probes.push(new Probe(pod));
      addresses.push(pod.address(4));
    }
  });
  afterAll(async () => {
    for (const probe of probes) probe.stop();
    await lab?.down();
  });

  async function drops(node: LabNode): Promise<Readonly<Record<string, number>>> {
    return (await node.client().status()).datapath.drops;
  }

  /** By reason, what both nodes have dropped since `before`. */
  async function dropped(
    before: readonly Readonly<Record<string, number>>[],
  ): Promise<Record<string, number>[]> {
    const now = await Promise.all(lab.nodes.map(drops));
    return now.map((one, i) =>
      Object.fromEntries(
        Object.entries(one)
          .map(([reason, count]) => [reason, count - before[i]![reason]!] as const)
          .filter(([, count]) => count > 0),
      ),
    );
  }

  const sum = (counts: Record<string, number>) =>
    Object.values(counts).reduce((total, one) => total + one, 0);

  test('is counted by both nodes, to the packet', async () => {
    const held = lab.node(1);
    const sinks = await Promise.all(probes.map((probe, i) => probe.udpSink(addresses[i]!)));
    const before = await Promise.all(lab.nodes.map(drops));
    const frozen = new FrozenThread(await packetThread(held.pid!));
    onTestFinished(() => frozen.thaw());

    const flood = (from: number, to: Listener, first = 0) =>
      probes[from]!.udpFlood(addresses[from]!, to, first, DATAGRAMS);
    await flood(1, sinks[0]!);
    const [here, there] = await dropped(before);
    expect(here).toEqual({});
    // It reads none of them: what the queue has is all that can come.
    expect(there).toEqual({ 'outbound-queue-overflow': expect.any(Number) });
    expect(there!['outbound-queue-overflow']).toBeGreaterThan(DATAGRAMS - 1000);
    // How many of them come as far as the held node's socket is up to the other node's thread.
    let sent = 0;
    let overflow = 0;
    while (overflow < 1000 && sent < MOST_DATAGRAMS) {
      await flood(0, sinks[1]!, sent);
      sent += DATAGRAMS;
      overflow = (await dropped(before))[1]!['inbound-socket-overflow'] ?? 0;
    }
    frozen.thaw();

    const reports = await Promise.all([
      probes[0]!.udpFlooded(sinks[0]!, DATAGRAMS),
      probes[1]!.udpFlooded(sinks[1]!, sent),
    ]);
    for (const report of reports) expect(report).toMatchObject({ wrong: 0, repeated: 0 });
    const [towards, back] = reports;
    const [sender, receiver] = (await dropped(before)) as [Record<string, number>, Record<string, number>];
    const fromHeld = receiver['outbound-queue-overflow']!;
    expect(towards.received + fromHeld).toBe(DATAGRAMS);
    expect(receiver['inbound-socket-overflow']).toBeGreaterThan(1000);
    // Where the other node's own thread does not keep up either, that is in its counters.
    expect(back.received + sum(sender) + sum(receiver) - fromHeld).toBe(sent);
  }, 60_000);
});
