/**
 * Two nodes whose agents have several workers, with a pod each, between which both ways are used in bulk.
 *
 * The host's own stack can change the order of a flow, so it is kept from that. What crosses a veth waits in the queue of
 * the processor that sends it: a flow that is sent by a program on one of them and by acknowledgments that arrive on another
 * may overtake itself there, before a packet path sees it. Receive packet steering (Documentation/networking/scaling.rst)
 * gives each flow one processor, and so an order: at every veth on the way, those of the bridge between the nodes among
 * them. And what waits for a neighbour to be resolved can be overtaken by what is sent just then, so the pods' neighbours
 * are known before.
 */
import { cpus } from 'node:os';
import { namedNetnsPath } from '../../src/host/netns.ts';
import { LabNamespace, type LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { bridgeNamespace } from '../../src/lab/names.ts';
import { mustRun } from './in-namespace.ts';
import { Probe } from './probe.ts';

export interface WorkerNodes {
  readonly lab: Lab;
  /** By node, as are these; a process that sends or receives does nothing else meanwhile. */
  readonly pods: readonly LabPod[];
  readonly senders: readonly Probe[];
  readonly receivers: readonly Probe[];
  down(): Promise<void>;
}

export async function workerNodes(name: string, workers: number): Promise<WorkerNodes> {
  const lab = await Lab.up({
    ...{ name, nodes: 2, pods: 1, encapsulation: 'vxlan-gpe' },
    config: () => ({ datapath: { workers } }),
  });
  try {
    const pods = await Promise.all(lab.nodes.map((node) => lab.pod(node.name, 'pod-1')));
    const bridge = new LabNamespace(namedNetnsPath(bridgeNamespace(name)));
    await Promise.all([bridge, ...lab.nodes, ...pods].map(steerFlows));
    await resolveNeighbours(pods);
    const senders = pods.map((pod) => new Probe(pod));
    const receivers = pods.map((pod) => new Probe(pod));
    const down = async () => {
      for (const probe of [...senders, ...receivers]) probe.stop();
      await lab.down();
    };
    return { lab, pods, senders, receivers, down };
  } catch (error) {
    await lab.down();
    throw error;
  }
}

/** A question and its answer make each pod known to its node and the other way round. */
async function resolveNeighbours([from, to]: readonly LabPod[]): Promise<void> {
  for (const address of to!.addresses) await mustRun(from!, ['ping', '-n', '-c', '1', '-W', '10', address]);
}

/** /sys shows the interfaces of the namespace that mounted it. */
async function steerFlows(host: Parameters<typeof mustRun>[0]): Promise<void> {
  const mask = (2 ** Math.min(32, cpus().length) - 1).toString(16);
  const script = `
    mount -t sysfs none /sys
    for queue in /sys/class/net/*/queues/rx-*; do echo ${mask} > $queue/rps_cpus; done
  `;
  await mustRun(host, ['unshare', '--mount', 'sh', '-ec', script]);
}
