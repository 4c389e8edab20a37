/** Who is there to be called and may call: the members of the cluster, as far as this node knows them. */
import type { Endpoint } from '../ip/endpoint.ts';

export interface DirectoryEntry {
  readonly id: string;
  readonly name: string;
  /** Raw Ed25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** Of its present run, hexadecimal. */
  readonly session: string;
  readonly gossip: Endpoint;
  readonly status: 'alive' | 'suspect' | 'dead' | 'left';
}

export interface Directory {
  find(memberId: string): DirectoryEntry | undefined;
}
