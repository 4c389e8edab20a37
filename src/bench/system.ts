/** A system under test: something that carries packets from one node to the other. */
import type { LabNamespace } from '../lab/host.ts';
import type { ProcessId } from '../lab/process.ts';
import type { CompiledPrograms } from './compile.ts';
import type { Stage } from './stage.ts';

/** What it is compared as. */
export type SystemRole = 'bare' | 'kernel' | 'warren' | 'roofline' | 'userspace';

export interface System {
  /** As `--systems` takes it: lower-case letters, digits and hyphens. */
  readonly id: string;
  readonly title: string;
  readonly role: SystemRole;
  readonly encrypted: boolean;
  /** Why it cannot run on this machine at all; undefined if it may. Cheap: nothing is set up for it. */
  unavailable?(programs: CompiledPrograms): string | undefined;
  /** The stage that it wants. */
  readonly stage?: StageWishes;
  /** Starts it between the two nodes; returns when packets flow. Whatever it throws is a reason to skip it. */
  start(stage: Stage): Promise<RunningSystem>;
}

export interface StageWishes {
  /** Starts warren's agents with this over the lab's own configuration, and a pod on each node. */
  readonly agentConfig: Readonly<Record<string, unknown>>;
}

export interface RunningSystem {
  readonly version: string;
  readonly settings: string;
  /** Its daemons: the first node's, which is the sender's, then the second's. None for a system of the kernel. */
  readonly processes: readonly ProcessId[];
  readonly paths: readonly Path[];
  /** Where the second node takes handshakes, and the key that its peers know it by: of WireGuard. */
  readonly handshakes?: { readonly publicKey: Uint8Array; readonly port: number };
}

/** A way through the system, from the first node's side to the second's. */
export interface Path {
  /** `node`: from tunnel address to tunnel address. `pod`: from a pod behind one node to a pod behind the other. */
  readonly kind: 'node' | 'pod';
  readonly client: LabNamespace;
  readonly server: LabNamespace;
  /** The server's, IPv4. */
  readonly address: string;
}
