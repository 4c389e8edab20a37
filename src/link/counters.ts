import type { MessageRefusal } from '../protobuf/fields.ts';
import type { FrameRefusal } from './seal.ts';

/** What gossip has sent, received and refused since the agent's start. Every name is listed, also at 0. */
export const GOSSIP_COUNTERS = [
  'sentDatagrams',
  'sentBytes',
  'receivedDatagrams',
  'receivedBytes',
  'sentStreams',
  'sentStreamBytes',
  'receivedStreams',
  'receivedStreamBytes',
  'probes',
  'probesFailed',
  'probesOnlyTcp',
  'suspicions',
  'deaths',
  'refutations',
  'pushPulls',
  'pushPullsFailed',
  'pushPullsSame',
  /** From an address that is not in `underlay.allowFrom`: datagrams and connections that were not looked at. */
  'refusedAddress',
  /** Frames: too short, not ours, another version or kind. */
  'refusedShort',
  'refusedMagic',
  'refusedVersion',
  'refusedKind',
  /** Sealed with a key that is not in the key ring, under another cluster's name, or tampered with. */
  'refusedKey',
  /** Clear text although this node has a key. */
  'refusedClear',
  /** Sealed although this node has no key. */
  'refusedSealed',
  /** Clear text of a cluster with another name. */
  'refusedCluster',
  /** Received before, or too long ago to tell. */
  'refusedReplay',
  /** From a session that is no member's present one: answered, but not applied. */
  'refusedSession',
  /** Records that are void since their node was forgotten. */
  'refusedForgotten',
  /** Records of a second agent under one key, while its node is in quarantine. */
  'refusedTwin',
  /** Frames out of order in a stream. */
  'refusedStream',
  /** Messages: not protobuf, a field out of its bounds, a signature that does not hold. */
  'refusedMalformed',
  'refusedField',
  'refusedSignature',
  /** Of a kind that does not belong where it came, such as a push-pull in a datagram. */
  'refusedUnexpected',
  /** A ping for another node. */
  'refusedMisdirected',
  /** More members, or more requests for indirect probes, than there is room for. */
  'refusedFull',
  /** What could not be handled because of a bug in warren. */
  'bugs',
] as const;

export type GossipCounter = (typeof GOSSIP_COUNTERS)[number];

export class GossipCounters {
  readonly #values = Object.fromEntries(GOSSIP_COUNTERS.map((name) => [name, 0])) as Record<
    GossipCounter,
    number
  >;

  add(name: GossipCounter, by = 1): void {
    this.#values[name] += by;
  }

  get(name: GossipCounter): number {
    return this.#values[name];
  }

  snapshot(): Record<GossipCounter, number> {
    return { ...this.#values };
  }
}

export const FRAME_COUNTER: Record<FrameRefusal, GossipCounter> = {
  short: 'refusedShort',
  magic: 'refusedMagic',
  version: 'refusedVersion',
  kind: 'refusedKind',
  key: 'refusedKey',
  clear: 'refusedClear',
  sealed: 'refusedSealed',
  cluster: 'refusedCluster',
};

export const MESSAGE_COUNTER: Record<MessageRefusal, GossipCounter> = {
  malformed: 'refusedMalformed',
  field: 'refusedField',
  signature: 'refusedSignature',
};
