/** The peers of the configuration, which do not gossip: a kernel VXLAN-GPE device, for instance. */
import type { StaticPeer } from '../config/config.ts';
import type { KnownPeer, PeerSource } from './peer-view.ts';

export class StaticPeers implements PeerSource {
  #peers: readonly KnownPeer[];
  readonly #listeners: (() => void)[] = [];

  constructor(peers: readonly StaticPeer[]) {
    this.#peers = peers.map(knownPeer);
  }

  peers(): readonly KnownPeer[] {
    return this.#peers;
  }

  /** For a configuration that was read again. */
  replace(peers: readonly StaticPeer[]): void {
    this.#peers = peers.map(knownPeer);
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  close(): void {}
}

function knownPeer({ name, endpoint, subnets, ...keys }: StaticPeer): KnownPeer {
  const { publicKey, presharedKey, persistentKeepaliveSeconds } = keys;
  return {
    key: `static/${name}`,
    id: '',
    name,
    kind: 'static',
    status: 'static',
    endpoint,
    subnets,
    partialChecksums: false,
    mtu: undefined,
    ...(publicKey && { publicKey }),
    ...(presharedKey && { presharedKey }),
    ...(persistentKeepaliveSeconds && { persistentKeepaliveMs: 1000 * persistentKeepaliveSeconds }),
    unreachable: undefined,
  };
}
