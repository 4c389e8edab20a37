/**
 * A device as it was configured: its key, its peers and what belongs to them. What a peer does (where it is, what was sent) is
 * not here but with whoever talks to it. Keys are Buffers that nobody changes.
 */
import { keyPairOf } from '../encapsulation/wireguard/x25519.ts';
import { EINVAL } from '../sys/constants.ts';
import { AllowedIps } from './allowed-ips.ts';
import { type PeerChange, type SetRequest, UapiError } from './uapi-request.ts';

export interface ModelPeer {
  /** Its place in the tables of the packet path; that of a peer that is gone goes to another. */
  readonly slot: number;
  /** Another one where a peer was removed and added again. */
  readonly id: number;
  readonly publicKey: Buffer;
  presharedKey: Buffer | undefined;
  persistentKeepaliveS: number;
}

/** What a request changes beyond the model. */
export interface Changes {
  /** Peers that are told where they are. */
  readonly endpoints: readonly { readonly slot: number; readonly endpoint: Uint8Array }[];
  readonly allowedIps: boolean;
}

export class DeviceModel {
  readonly allowedIps = new AllowedIps<ModelPeer>();
  readonly #peers = new Map<string, ModelPeer>();
  readonly #freeSlots: number[] = [];
  readonly #maxPeers: number;
  #slots = 0;
  #lastId = 0;
  #privateKey: Buffer | undefined;
  #publicKey: Buffer | undefined;
  fwmark = 0;

  constructor(maxPeers: number) {
    this.#maxPeers = maxPeers;
  }

  get privateKey(): Buffer | undefined {
    return this.#privateKey;
  }

  get peers(): readonly ModelPeer[] {
    return [...this.#peers.values()];
  }

  /** All but the port, which is the socket's. Throws a UapiError where there are too many peers; then nothing has changed. */
  apply(request: SetRequest): Changes {
    this.#checkRoom(request);
    let changed = request.replacePeers;
    if (request.privateKey !== undefined) changed = this.#setPrivateKey(request.privateKey) || changed;
    if (request.fwmark !== undefined) this.fwmark = request.fwmark;
    if (request.replacePeers) for (const peer of this.peers) this.#remove(peer);
    const endpoints = new Map<ModelPeer, Uint8Array>();
    for (const change of request.peers) {
      const peer = this.#changePeer(change);
      changed ||= change.remove || change.replaceAllowedIps || change.allowedIps.length > 0;
      if (peer !== undefined && change.endpoint !== undefined) endpoints.set(peer, change.endpoint);
    }
    const known = [...endpoints].filter(([peer]) => this.#peers.get(nameOf(peer.publicKey)) === peer);
    return { endpoints: known.map(([{ slot }, endpoint]) => ({ slot, endpoint })), allowedIps: changed };
  }

  #checkRoom(request: SetRequest): void {
    const names = new Set(request.replacePeers ? [] : this.#peers.keys());
    for (const { publicKey, updateOnly, remove } of request.peers) {
      if (remove) names.delete(nameOf(publicKey));
      else if (!updateOnly) names.add(nameOf(publicKey));
      if (names.size > this.#maxPeers) throw new UapiError(EINVAL, `more than ${this.#maxPeers} peers`);
    }
  }

  /** Nobody is a peer of itself. True: a peer is gone. */
  #setPrivateKey(privateKey: Buffer): boolean {
    this.#privateKey = privateKey.every((byte) => byte === 0) ? undefined : clamped(privateKey);
    this.#publicKey = this.#privateKey && keyPairOf(this.#privateKey).publicKey;
    const self = this.#publicKey && this.#peers.get(nameOf(this.#publicKey));
    if (self !== undefined) this.#remove(self);
    return self !== undefined;
  }

  /** Undefined: there is no such peer, or not any more. */
  #changePeer(change: PeerChange): ModelPeer | undefined {
    const { publicKey, presharedKey, persistentKeepaliveS } = change;
    const known = this.#peers.get(nameOf(publicKey));
    if (change.remove) {
      if (known !== undefined) this.#remove(known);
      return undefined;
    }
    if (known === undefined && (change.updateOnly || this.#publicKey?.equals(publicKey) === true))
      return undefined;
    const peer = known ?? this.#add(publicKey);
    if (presharedKey !== undefined)
      peer.presharedKey = presharedKey.every((byte) => byte === 0) ? undefined : presharedKey;
    if (persistentKeepaliveS !== undefined) peer.persistentKeepaliveS = persistentKeepaliveS;
    if (change.replaceAllowedIps) this.allowedIps.removeAll(peer);
    for (const { prefix, remove } of change.allowedIps) {
      if (remove) this.allowedIps.remove(prefix, peer);
      else this.allowedIps.add(prefix, peer);
    }
    return peer;
  }

  #add(publicKey: Buffer): ModelPeer {
    const slot = this.#freeSlots.pop() ?? this.#slots++;
    const peer = { slot, id: ++this.#lastId, publicKey, presharedKey: undefined, persistentKeepaliveS: 0 };
    this.#peers.set(nameOf(publicKey), peer);
    return peer;
  }

  #remove(peer: ModelPeer): void {
    this.allowedIps.removeAll(peer);
    this.#peers.delete(nameOf(peer.publicKey));
    this.#freeSlots.push(peer.slot);
  }
}

/** As it is used (RFC 7748, section 5), and shown by other implementations. */
function clamped(privateKey: Buffer): Buffer {
  const key = Buffer.from(privateKey);
  key[0]! &= 0xf8;
  key[31] = (key[31]! & 0x7f) | 0x40;
  return key;
}

function nameOf(publicKey: Buffer): string {
  return publicKey.toString('latin1');
}
