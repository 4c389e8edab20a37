/** Two nodes whose agents have several workers, with a pod each, between which both ways are used in bulk. */
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
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
  const lab = await Lab.up({ name, nodes: 2, pods: 1, config: () => ({ datapath: { workers } }) });
  try {
    const pods = await Promise.all(lab.nodes.map((node) => lab.pod(node.name, 'pod-1')));
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
