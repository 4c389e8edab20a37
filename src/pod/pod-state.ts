/** What a node remembers of its pods: `pods.json` in the state folder, written before anything is made. */
import { join } from 'node:path';
import { z } from 'zod';
import { POD_NAME } from '../config/fields.ts';
import { formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';
import { readStateFile, writeStateFile } from '../state/state-file.ts';

export interface PodRecord {
  readonly name: string;
  /** Path of its network namespace. */
  readonly netns: string;
  /** Set for a namespace that was given with `--netns` and is not ours: which one it was (`netnsIdentity`). */
  readonly external: string | undefined;
  /** One of each family that the node has a subnet of. */
  readonly addresses: readonly IpAddress[];
  /** Made from `staticPods`; goes when it is no longer listed. */
  readonly static: boolean;
}

export interface PodState {
  readonly pods: readonly PodRecord[];
  /** The addresses given out last, one of each family: the next pod gets those after them. */
  readonly last: readonly IpAddress[];
}

const address = z.string().transform((text, context) => {
  try {
    return parseAddress(text);
  } catch {
    context.addIssue({ code: 'custom', message: 'is not an IP address' });
    return z.NEVER;
  }
});

const schema = z.object({
  pods: z.array(
    z.object({
      name: z.string().regex(POD_NAME),
      netns: z.string().startsWith('/'),
      external: z.string().optional(),
      addresses: z.array(address),
      static: z.boolean(),
    }),
  ),
  last: z.array(address),
});

const EMPTY: PodState = { pods: [], last: [] };

export function podStatePath(stateDir: string): string {
  return join(stateDir, 'pods.json');
}

/** Throws STATE_CORRUPT and the like, see `readStateFile`; an absent file is no pods. */
export function readPodState(stateDir: string, nodeId: string): PodState {
  const path = podStatePath(stateDir);
  const state = readStateFile<z.output<typeof schema>>(path, schema, "this node's pods", nodeId);
  if (state === undefined) return EMPTY;
  return { last: state.last, pods: state.pods.map((pod) => ({ ...pod, external: pod.external })) };
}

/** Throws STATE_UNWRITABLE. */
export function writePodState(stateDir: string, nodeId: string, state: PodState): void {
  const pods = state.pods.map((pod) => ({ ...pod, addresses: pod.addresses.map(formatAddress) }));
  writeStateFile(podStatePath(stateDir), { pods, last: state.last.map(formatAddress) }, nodeId);
}
