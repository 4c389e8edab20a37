/**
 * Whole packets into datagrams and back, with a peer's sessions: what the control thread itself sends and receives, such as
 * signs of life and packets that waited for a handshake. The packet path does the same for many at once where they lie.
 */
import { Arena } from '../../sys/arena.ts';
import type { AeadEngine, Opener, Sealer } from './aead.ts';
import { TAG_BYTES } from './constants.ts';
import { dataCounter, MIN_DATA_BYTES, PADDING_BYTES, writeDataHeader } from './data-message.ts';
import { DATA_HEADER_BYTES } from './form.ts';
import { paddingOf } from './padding.ts';
import type { Session } from './session.ts';

const MAX_DATAGRAM_BYTES = 65_535;
const MAX_PACKET_BYTES = MAX_DATAGRAM_BYTES - MIN_DATA_BYTES - PADDING_BYTES;

interface Cipher {
  readonly sealer: Sealer;
  readonly opener: Opener;
}

export type OpenRefusal = 'expired' | 'replayed' | 'bad-seal';

export class SessionCiphers {
  readonly #engine: AeadEngine;
  /** Packets up to that long are not padded beyond it. */
  mtu: number;
  readonly #memory = new Arena(2 * 65_536);
  /** Until they are told that a session ended; so bounded by the sessions. */
  readonly #ciphers = new Map<Session, Cipher>();

  constructor(engine: AeadEngine, mtu: number) {
    this.#engine = engine;
    this.mtu = mtu;
  }

  /** Undefined: the session has no counter left, or the packet fits no datagram. */
  seal(session: Session, packet: Uint8Array): Buffer | undefined {
    if (packet.length > MAX_PACKET_BYTES) return undefined;
    const counter = session.nonces.take(1);
    if (counter < 0) return undefined;
    const { bytes, view, buffer } = this.#memory;
    const padding = paddingOf(packet.length, this.mtu);
    const source = MAX_DATAGRAM_BYTES + 1;
    bytes.set(packet, source);
    writeDataHeader(view, 0, session.remoteIndex, counter);
    const { sealer } = this.#cipher(session);
    if (!sealer.seal(counter, source, packet.length, 0, 0, padding, DATA_HEADER_BYTES)) return undefined;
    const end = DATA_HEADER_BYTES + packet.length + padding + TAG_BYTES;
    return Buffer.from(new Uint8Array(buffer, 0, end));
  }

  /** The packet, with its padding. Only one that opens changes anything. */
  open(session: Session, datagram: Uint8Array, nowMs: number): Buffer | OpenRefusal {
    if (session.isExpired(nowMs)) return 'expired';
    const { bytes, view, buffer } = this.#memory;
    bytes.set(datagram);
    const counter = dataCounter(view, 0);
    if (!session.replay.isFresh(counter)) return 'replayed';
    const sealedBytes = datagram.length - DATA_HEADER_BYTES;
    if (!this.#cipher(session).opener.open(counter, DATA_HEADER_BYTES, sealedBytes)) return 'bad-seal';
    session.replay.commit(counter);
    return Buffer.from(new Uint8Array(buffer, DATA_HEADER_BYTES, sealedBytes - TAG_BYTES));
  }

  /** Lets go of a session's keys. */
  end(session: Session): void {
    const cipher = this.#ciphers.get(session);
    cipher?.sealer.destroy();
    cipher?.opener.destroy();
    this.#ciphers.delete(session);
  }

  get size(): number {
    return this.#ciphers.size;
  }

  #cipher(session: Session): Cipher {
    const known = this.#ciphers.get(session);
    if (known !== undefined) return known;
    const cipher = {
      sealer: this.#engine.sealer(session.sendKey, this.#memory, this.#memory),
      opener: this.#engine.opener(session.receiveKey, this.#memory),
    };
    this.#ciphers.set(session, cipher);
    return cipher;
  }
}
