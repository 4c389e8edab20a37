/** Hands each message to the part of membership that it is for. */

import type { GossipCounters } from '../link/counters.ts';
import type { Sender } from '../link/link.ts';
import type { AdmissionNews } from './admission-news.ts';
import { encodeMessage, type Message, pingTargetOf } from './codec.ts';
import type { Gossiper } from './gossip.ts';
import type { KeyRotation } from './key-rotation.ts';
import type { MessageHandlers, MessageReader } from './messenger.ts';
import type { Prober } from './probe.ts';
import type { Roster } from './roster.ts';
import type { Synchronizer } from './sync.ts';
import type { SignedRecord } from './types.ts';

export interface InboxOptions {
  readonly selfId: string;
  readonly isRunning: () => boolean;
  readonly roster: Roster;
  readonly prober: Prober;
  readonly gossiper: Gossiper;
  readonly synchronizer: Synchronizer;
  readonly rotation: KeyRotation;
  readonly admissionNews: AdmissionNews;
  readonly counters: GossipCounters;
}

export class Inbox implements MessageHandlers {
  readonly #options: InboxOptions;

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /**
   * A message that was sent to an earlier run of this node is answered, because its sender may not know of the
   * restart, but nothing in it is applied. Of a sender whose session is not that of a known member, such as a node that
   * is just joining, only signed records are applied: they prove their own origin.
   */
  datagram(sender: Sender, message: Message): void {
    const { isRunning, roster, prober, gossiper, counters, rotation, admissionNews } = this.#options;
    if (!isRunning()) return;
    if (!isBelieved(sender, message)) {
      counters.add('refusedSession');
      return;
    }
    switch (message.kind) {
      case 'ping':
        prober.answer(message, sender, rotation.keyUpdateFor(sender.key));
        break;
      case 'pingRequest':
        prober.relay(message, sender);
        break;
      case 'ack':
        prober.ack(message, sender);
        break;
      case 'nack':
        prober.nack(message.sequence);
        break;
      case 'record':
        roster.mergeRecord(message.signed, 'broadcast', sender.id);
        if (sender.id === undefined) this.#tellOfNewerRun(sender, message.signed);
        break;
      case 'suspect':
        roster.accusations.suspect(message);
        break;
      case 'dead':
        roster.accusations.declareDead(message);
        break;
      case 'forget':
        roster.forgotten(message);
        break;
      case 'keyRing':
        rotation.merge(message.ring);
        break;
      case 'admission':
        admissionNews.merge(message.signed, 'broadcast');
        break;
      default:
        counters.add('refusedUnexpected');
    }
    gossiper.wake();
  }

  #tellOfNewerRun(sender: Sender, signed: SignedRecord): void {
    const { roster, gossiper } = this.#options;
    const newer = sender.session === undefined ? undefined : roster.newerRun(signed, sender.session);
    if (newer)
      gossiper.send(sender, undefined, [encodeMessage({ kind: 'record', signed: newer })], sender.key);
  }

  /** A stream's first message says what it is about. */
  stream(): MessageReader {
    let reader: MessageReader | undefined;
    return {
      message: (message) => {
        if (reader) reader.message(message);
        else reader = this.#readerFor(message);
      },
      end: () => reader?.end() ?? [],
    };
  }

  #readerFor(first: Message): MessageReader | undefined {
    const { selfId, isRunning, synchronizer, counters } = this.#options;
    const ignore = () => counters.add('refusedUnexpected');
    if (isRunning()) {
      if (first.kind === 'syncRequest') return synchronizer.serve(first);
      if (first.kind === 'ping' && first.target === pingTargetOf(selfId)) {
        const ack = { kind: 'ack', sequence: first.sequence, toStranger: false } as const;
        return { message: ignore, end: () => [encodeMessage(ack)] };
      }
    }
    ignore();
    return undefined;
  }
}

function isBelieved(sender: Sender, { kind }: Message): boolean {
  switch (kind) {
    case 'suspect':
    case 'dead':
    case 'forget':
    case 'keyRing':
      return sender.isCurrent;
    case 'record':
    case 'admission':
      return sender.isAddressed;
    default:
      return true;
  }
}
