/**
 * Inbound: data by its receiver index, opened where it lies. A counter is looked at before and committed after, so nothing
 * that is forged moves a window. Who sent it is whose session opened it, whatever its source address.
 */
import { CONSUMED, DROP, PASSED, type Verdict } from '../../datapath/drops.ts';
import type { Opener } from '../../datapath/encapsulation.ts';
import type { Arena } from '../../sys/arena.ts';
import type { AeadEngine, Opener as AeadOpener } from './aead.ts';
import { TAG_BYTES } from './constants.ts';
import { dataCounter, MESSAGE, MIN_DATA_BYTES } from './data-message.ts';
import { DATA_HEADER_BYTES } from './form.ts';
import type { PathSessions } from './path-sessions.ts';
import type { Session } from './session.ts';

const TYPE = 0;
const RECEIVER = 4;

export class WireguardOpener implements Opener {
  packet = 0;
  bytes = 0;
  isIpv4 = true;
  readonly partialStart = 0;
  readonly partialIsUdp = false;
  /** The VTEP. */
  sender = 0;
  readonly #memory: Arena;
  readonly #view: DataView;
  readonly #engine: AeadEngine;
  readonly #sessions: PathSessions;
  /** Until they are told to end; so bounded by the sessions. */
  readonly #openers = new Map<Session, AeadOpener>();

  constructor(memory: Arena, engine: AeadEngine, sessions: PathSessions) {
    this.#memory = memory;
    this.#view = memory.view;
    this.#engine = engine;
    this.#sessions = sessions;
  }

  /** Anyone may send from anywhere; what opens tells who it was. */
  source(sockaddr: number, packetInfo: number): number {
    this.#sessions.begin(packetInfo);
    return sockaddr;
  }

  open(datagram: number, datagramBytes: number, source: number): Verdict {
    if (datagramBytes < MIN_DATA_BYTES) return DROP.inboundTruncated;
    const type = this.#view.getUint32(datagram + TYPE, true);
    if (type !== MESSAGE.data) {
      if (type < MESSAGE.initiation || type > MESSAGE.data) return DROP.inboundBadHeader;
      this.#sessions.handshake(datagram, datagramBytes, source);
      return CONSUMED;
    }
    const by = this.#sessions.receivingAt(this.#view.getUint32(datagram + RECEIVER, true));
    if (by === undefined) return DROP.inboundNoSession;
    const counter = dataCounter(this.#view, datagram);
    if (!by.session.replay.isFresh(counter)) return DROP.inboundReplayed;
    this.packet = datagram + DATA_HEADER_BYTES;
    this.bytes = datagramBytes - DATA_HEADER_BYTES - TAG_BYTES;
    if (!this.#opener(by.session).open(counter, this.packet, datagramBytes - DATA_HEADER_BYTES))
      return DROP.inboundForged;
    by.session.replay.commit(counter);
    this.#sessions.opened(by, this.bytes > 0, source, datagramBytes);
    if (this.bytes === 0) return CONSUMED;
    this.isIpv4 = this.#view.getUint8(this.packet) >> 4 === 4;
    this.sender = by.vtep;
    return PASSED;
  }

  isFrom(vtep: number, sender: number): boolean {
    return vtep === sender;
  }

  /** Lets go of a session's key. */
  end(session: Session): void {
    this.#openers.get(session)?.destroy();
    this.#openers.delete(session);
  }

  #opener(session: Session): AeadOpener {
    const known = this.#openers.get(session);
    if (known !== undefined) return known;
    const opener = this.#engine.opener(session.receiveKey, this.#memory);
    this.#openers.set(session, opener);
    return opener;
  }
}
