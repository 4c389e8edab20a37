/**
 * What a node remembers of its attachments: `attachments.json` in the state folder, written before anything is made.
 * Where there is none, the `pods.json` of release 0.1.0 is taken over: it goes once attachments.json is on the disk, so
 * that a crash in between leaves both, of which attachments.json counts.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';
import { readStateFile, removeStateFile, writeStateFileAsync } from '../state/state-file.ts';
import { z } from '../zod.ts';
import type { AttachmentRecord } from './attachment.ts';
import { DEFAULT_INTERFACE, hostInterfaceName, isInterfaceName } from './interface-name.ts';

export interface AttachmentState {
  readonly attachments: readonly AttachmentRecord[];
  /** The addresses given out last, one of each family: the next attachment gets those after them. */
  readonly last: readonly IpAddress[];
}

export interface AttachmentStore {
  /** What was written last; changes nothing. Throws STATE_CORRUPT and the like; nothing written is no attachments. */
  read(): AttachmentState;
  /** True if something of an earlier release is still there, which goes with the next write. */
  readonly isOutdated: boolean;
  /** Durable when it resolves. Reads `state` before it returns. One at a time. Throws STATE_UNWRITABLE. */
  write(state: AttachmentState): Promise<void>;
}

const address = z.string().transform((text, context) => {
  try {
    return parseAddress(text);
  } catch {
    context.addIssue({ code: 'custom', message: 'is not an IP address' });
    return z.NEVER;
  }
});
const interfaceName = z.string().refine(isInterfaceName, { error: 'is not the name of an interface' });

const schema = z.object({
  attachments: z.array(
    z.object({
      id: z.string(),
      client: z.string(),
      name: z.string(),
      network: z.string(),
      labels: z.record(z.string(), z.string()),
      netns: z.string().startsWith('/').optional(),
      ownsNetns: z.boolean(),
      netnsIdentity: z.string().optional(),
      interfaceName,
      hostInterface: interfaceName,
      mtu: z.number().int().positive().optional(),
      requested: z.array(address),
      addresses: z.array(address),
      remote: z.literal(true).optional(),
      static: z.boolean(),
    }),
  ),
  last: z.array(address),
});

/** Of release 0.1.0, which had pods alone. */
const podsSchema = z.object({
  pods: z.array(
    z.object({
      name: z.string(),
      netns: z.string().startsWith('/'),
      /** Set for a namespace that was given and is not ours: which one it was. */
      external: z.string().optional(),
      addresses: z.array(address),
      static: z.boolean(),
    }),
  ),
  last: z.array(address),
});

/** The `client` of named pods, which were all that 0.1.0 had. */
export const POD_CLIENT = 'pod';

export function fileAttachmentStore(stateDir: string, nodeId: string): AttachmentStore {
  const path = join(stateDir, 'attachments.json');
  const podsPath = join(stateDir, 'pods.json');
  // A record never changes, and thousands of them are written again and again: each is put into its stored form once.
  const stored = new WeakMap<AttachmentRecord, unknown>();
  const storedOnce = (record: AttachmentRecord): unknown => {
    const known = stored.get(record) ?? storedForm(record);
    stored.set(record, known);
    return known;
  };
  return {
    read() {
      const state = readStateFile<z.output<typeof schema>>(path, schema, "this node's attachments", nodeId);
      if (state === undefined) return readPods(podsPath, nodeId);
      return {
        last: state.last,
        attachments: state.attachments.map(({ remote, ...one }) => ({
          ...one,
          ...(remote && { remote }),
          netns: one.netns,
          netnsIdentity: one.netnsIdentity,
          mtu: one.mtu,
        })),
      };
    },
    get isOutdated() {
      return existsSync(podsPath);
    },
    async write({ attachments, last }) {
      const content = {
        attachments: attachments.map(storedOnce),
        last: last.map(formatAddress),
      };
      await writeStateFileAsync(path, content, nodeId);
      if (existsSync(podsPath)) removeStateFile(podsPath);
    },
  };
}

function storedForm(record: AttachmentRecord) {
  const { requested, addresses, ...rest } = record;
  return { ...rest, requested: requested.map(formatAddress), addresses: addresses.map(formatAddress) };
}

function readPods(path: string, nodeId: string): AttachmentState {
  const state = readStateFile<z.output<typeof podsSchema>>(path, podsSchema, "this node's pods", nodeId);
  if (state === undefined) return { attachments: [], last: [] };
  const attachments = state.pods.map(
    (pod): AttachmentRecord => ({
      id: pod.name,
      client: POD_CLIENT,
      name: pod.name,
      network: '',
      labels: {},
      netns: pod.netns,
      ownsNetns: pod.external === undefined,
      netnsIdentity: pod.external,
      interfaceName: DEFAULT_INTERFACE,
      hostInterface: hostInterfaceName(nodeId, pod.name),
      mtu: undefined,
      requested: [],
      addresses: pod.addresses,
      static: pod.static,
    }),
  );
  return { attachments, last: state.last };
}
