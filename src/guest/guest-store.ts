/**
 * What a node remembers of its guests: `wireguard-peers.json` in the state folder, 0600, for it holds pre-shared keys. No private
 * key of a guest is in it. Their addresses are their attachments', and not here.
 */
import { join } from 'node:path';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../ip/endpoint.ts';
import { readStateFile, writeStateFileAsync } from '../state/state-file.ts';
import { z } from '../zod.ts';

export interface GuestRecord {
  readonly name: string;
  /** X25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes; undefined: there is none. */
  readonly presharedKey: Uint8Array | undefined;
  /** Its private key was made here, and shown once. */
  readonly isKeyMadeHere: boolean;
  /** Where it always is; undefined: it comes from anywhere. */
  readonly endpoint: Endpoint | undefined;
  /** Where it was heard from last. */
  readonly lastEndpoint: Endpoint | undefined;
  /** Of its file: where it reaches this node, if that is not the underlay's address. */
  readonly nodeEndpoint: string | undefined;
  /** Of its file: name servers and search domains. */
  readonly dns: readonly string[];
}

export interface GuestStore {
  /** What was written last. Throws STATE_CORRUPT and the like; nothing written is no guests. */
  read(): readonly GuestRecord[];
  /** Durable when it resolves. Reads `guests` before it returns. One at a time. Throws STATE_UNWRITABLE. */
  write(guests: readonly GuestRecord[]): Promise<void>;
}

const key = z
  .base64()
  .length(44)
  .transform((text) => new Uint8Array(Buffer.from(text, 'base64')));
const endpoint = z.string().transform((text, context) => {
  try {
    return parseEndpoint(text);
  } catch {
    context.addIssue({ code: 'custom', message: 'is not an address and port' });
    return z.NEVER;
  }
});

const schema = z.object({
  peers: z.array(
    z.object({
      name: z.string(),
      publicKey: key,
      presharedKey: key.optional(),
      isKeyMadeHere: z.boolean(),
      endpoint: endpoint.optional(),
      lastEndpoint: endpoint.optional(),
      nodeEndpoint: z.string().optional(),
      dns: z.array(z.string()),
    }),
  ),
});

export function fileGuestStore(stateDir: string, nodeId: string): GuestStore {
  const path = join(stateDir, 'wireguard-peers.json');
  return {
    read: () => readGuests(stateDir, nodeId),
    write: (guests) => writeStateFileAsync(path, { peers: guests.map(storedForm) }, nodeId),
  };
}

/** Throws STATE_CORRUPT and the like. */
export function readGuests(stateDir: string, nodeId: string): GuestRecord[] {
  const path = join(stateDir, 'wireguard-peers.json');
  const what = "this node's WireGuard peers";
  const state = readStateFile<z.output<typeof schema>>(path, schema, what, nodeId);
  return (state?.peers ?? []).map((peer) => ({
    ...peer,
    presharedKey: peer.presharedKey,
    endpoint: peer.endpoint,
    lastEndpoint: peer.lastEndpoint,
    nodeEndpoint: peer.nodeEndpoint,
  }));
}

function storedForm({ publicKey, presharedKey, endpoint, lastEndpoint, ...rest }: GuestRecord) {
  return {
    ...rest,
    publicKey: base64(publicKey),
    ...(presharedKey && { presharedKey: base64(presharedKey) }),
    ...(endpoint && { endpoint: formatEndpoint(endpoint) }),
    ...(lastEndpoint && { lastEndpoint: formatEndpoint(lastEndpoint) }),
  };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
