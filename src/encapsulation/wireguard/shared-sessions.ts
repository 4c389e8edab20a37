/**
 * The sessions of a node in memory that all its threads share. One thread makes and ends them (key-exchange.ts), packet path
 * threads only use them (shared-path-sessions.ts), and neither waits for the other:
 *
 *   slots   of sessions, by their local index: keys, the next counter, the replay window. A slot is written, and then its
 *           index; it is emptied the other way round. Who finds the index there before and after reading has read a session
 *   VTEPs   the local index of the session that is sent with; when something was sent and received, for the timers; the
 *           address that the peer was last heard from
 *
 * The low byte of a local index decides which packet path thread opens what comes for it (underlay/session-steering.ts), and
 * all of one peer lead to one thread: so a replay window has one writer. It lies here for the thread after that one, which
 * goes on where the packet path was stopped.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { MAX_VTEPS } from '../../datapath/counters.ts';
import { KEY_BYTES } from './constants.ts';
import { Nonces } from './nonces.ts';
import { REPLAY_WORDS, ReplayWindow } from './replay-window.ts';
import { Session } from './session.ts';

/** Four for each of 4,096 peers that packets are exchanged with at a time. */
const SLOTS = 16_384;
const SLOT_MASK = SLOTS - 1;

/** Offsets in a slot, in bytes. */
const SLOT = {
  index: 0,
  remoteIndex: 4,
  vtep: 8,
  isInitiator: 12,
  createdAtMs: 16,
  nonce: 24,
  sendKey: 32,
  receiveKey: 64,
  highest: 96,
  replay: 128,
} as const;
const SLOT_BYTES = SLOT.replay + 4 * REPLAY_WORDS;

/** `disguise` and `moves`, two int32, then what there is by VTEP, then the slots. */
const WORDS_OF_VTEP = { sending: 0, serial: 1, port: 2, address: 3 } as const;
const VTEP_WORDS = 7;
const TIMES_OF_VTEP = { dataSent: 0, received: 1, dataReceived: 2, handshake: 3 } as const;
const VTEP_TIMES = 4;
const VTEPS_AT = 64;
const TIMES_AT = VTEPS_AT + 4 * VTEP_WORDS * MAX_VTEPS;
const SLOTS_AT = TIMES_AT + 8 * VTEP_TIMES * MAX_VTEPS;
const BYTES = SLOTS_AT + SLOTS * SLOT_BYTES;

/** When the packet path last did something with a peer, on sys/monotonic.ts's clock; 0: never. */
export interface PathActivity {
  readonly dataSentMs: number;
  /** Anything, also a sign of life. */
  readonly receivedMs: number;
  readonly dataReceivedMs: number;
}

export class SharedSessions {
  readonly shared: SharedArrayBuffer;
  readonly #header: Int32Array;
  readonly #words: Int32Array;
  readonly #times: Float64Array;
  readonly #int32: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #float64: Float64Array;
  /** Where the search for a free slot goes on. */
  #next = 0;

  constructor(shared?: SharedArrayBuffer) {
    this.shared = shared ?? new SharedArrayBuffer(BYTES);
    this.#header = new Int32Array(this.shared, 0, 2);
    this.#words = new Int32Array(this.shared, VTEPS_AT, VTEP_WORDS * MAX_VTEPS);
    this.#times = new Float64Array(this.shared, TIMES_AT, VTEP_TIMES * MAX_VTEPS);
    this.#int32 = new Int32Array(this.shared);
    this.#bytes = new Uint8Array(this.shared);
    this.#float64 = new Float64Array(this.shared);
    // Slots are given out in a row, and what an index shows to others is not how many there are.
    if (shared === undefined) this.#header[0] = randomBytes(4).readInt32LE();
  }

  /**
   * A local index that leads to thread `worker` of `workers`, for which `isFree` has to hold: it is asked for each slot that
   * could be. -1: there is none.
   */
  propose(worker: number, workers: number, isFree: (slot: number) => boolean): number {
    for (let tried = 0; tried < SLOTS; tried++) {
      const slot = this.#next;
      this.#next = (slot + 1) & SLOT_MASK;
      const low = (slot ^ this.#header[0]!) & SLOT_MASK;
      if ((low & 0xff) % workers !== worker || !isFree(slot)) continue;
      // Zero stands for no session.
      const high = randomInt(1, 2 ** 18);
      return (high * SLOTS + low) >>> 0;
    }
    return -1;
  }

  slotOf(localIndex: number): number {
    return (localIndex ^ this.#header[0]!) & SLOT_MASK;
  }

  /** The counters of a session that is to be made under that index; they begin at zero. */
  nonces(localIndex: number): Nonces {
    const at = this.#slotAt(localIndex);
    new BigUint64Array(this.shared, at + SLOT.nonce, 1)[0] = 0n;
    return new Nonces(this.shared, at + SLOT.nonce);
  }

  /** Lets packet path threads use a session with `vtep`. */
  add(session: Session, vtep: number): void {
    const at = this.#slotAt(session.localIndex);
    this.#int32[(at + SLOT.remoteIndex) >> 2] = session.remoteIndex;
    this.#int32[(at + SLOT.vtep) >> 2] = vtep;
    this.#int32[(at + SLOT.isInitiator) >> 2] = session.isInitiator ? 1 : 0;
    this.#float64[(at + SLOT.createdAtMs) >> 3] = session.createdAtMs;
    this.#bytes.set(session.sendKey, at + SLOT.sendKey);
    this.#bytes.set(session.receiveKey, at + SLOT.receiveKey);
    this.#float64[(at + SLOT.highest) >> 3] = -1;
    this.#bytes.fill(0, at + SLOT.replay, at + SLOT_BYTES);
    Atomics.store(this.#int32, at >> 2, session.localIndex | 0);
  }

  /** No thread uses it any more; its keys are overwritten. */
  remove(localIndex: number): void {
    const at = this.#slotAt(localIndex);
    if (!this.has(localIndex)) return;
    Atomics.store(this.#int32, at >> 2, 0);
    this.#bytes.fill(0, at + SLOT.sendKey, at + SLOT.receiveKey + KEY_BYTES);
  }

  has(localIndex: number): boolean {
    return Atomics.load(this.#int32, this.#slotAt(localIndex) >> 2) === (localIndex | 0);
  }

  /** A thread's own view of a session, with the VTEP that it is with; undefined: there is none under that index. */
  read(localIndex: number): { readonly session: Session; readonly vtep: number } | undefined {
    const at = this.#slotAt(localIndex);
    const index = localIndex | 0;
    if (index === 0 || Atomics.load(this.#int32, at >> 2) !== index) return undefined;
    const key = (from: number) => Buffer.from(this.#bytes.slice(at + from, at + from + KEY_BYTES));
    const keys = { send: key(SLOT.sendKey), receive: key(SLOT.receiveKey) };
    const remoteIndex = this.#int32[(at + SLOT.remoteIndex) >> 2]! >>> 0;
    const vtep = this.#int32[(at + SLOT.vtep) >> 2]!;
    const session = new Session(
      { keys, localIndex: localIndex >>> 0, remoteIndex },
      this.#int32[(at + SLOT.isInitiator) >> 2] === 1,
      this.#float64[(at + SLOT.createdAtMs) >> 3]!,
      new Nonces(this.shared, at + SLOT.nonce),
      new ReplayWindow(
        new Int32Array(this.shared, at + SLOT.replay, REPLAY_WORDS),
        new Float64Array(this.shared, at + SLOT.highest, 1),
      ),
    );
    // A barrier: what was read above was read before this.
    if (Atomics.compareExchange(this.#int32, at >> 2, index, index) === index) return { session, vtep };
    session.destroy();
    return undefined;
  }

  /** What datagrams to `vtep` are sealed with from now on; 0: nothing. */
  sendWith(vtep: number, localIndex: number): void {
    Atomics.store(this.#words, VTEP_WORDS * vtep + WORDS_OF_VTEP.sending, localIndex | 0);
  }

  /**
   * Something opened with a session, so the peer has its keys: what is sent to it is sealed with them from now on, unless with
   * newer ones already. Whoever makes sessions does the same once it hears of it; but what answers that first packet may leave
   * before, and a peer that was started anew knows no other keys.
   */
  confirm(vtep: number, localIndex: number): void {
    const at = VTEP_WORDS * vtep + WORDS_OF_VTEP.sending;
    const current = Atomics.load(this.#words, at);
    if (current !== 0 && this.#createdAtMs(current) >= this.#createdAtMs(localIndex)) return;
    Atomics.compareExchange(this.#words, at, current, localIndex | 0);
  }

  /** 0: there is none. */
  sendingTo(vtep: number): number {
    return Atomics.load(this.#words, VTEP_WORDS * vtep + WORDS_OF_VTEP.sending) >>> 0;
  }

  /** The VTEP's number goes to another peer, or to none: what was said of it before means nothing. */
  reassign(vtep: number): void {
    const at = VTEP_WORDS * vtep;
    Atomics.add(this.#words, at + WORDS_OF_VTEP.serial, 1);
    Atomics.store(this.#words, at + WORDS_OF_VTEP.sending, 0);
    this.#words.fill(0, at + WORDS_OF_VTEP.port, at + VTEP_WORDS);
    this.#times.fill(0, VTEP_TIMES * vtep, VTEP_TIMES * (vtep + 1));
  }

  /** Which of the peers that have had this number in turn has it. */
  serial(vtep: number): number {
    return Atomics.load(this.#words, VTEP_WORDS * vtep + WORDS_OF_VTEP.serial);
  }

  /** Datagrams to `vtep` go there, whatever the forwarding state says; no words: they go where that says. */
  move(vtep: number, words: ArrayLike<number>, port: number): void {
    const at = VTEP_WORDS * vtep;
    this.#words[at + WORDS_OF_VTEP.port] = port;
    for (let i = 0; i < 4; i++) this.#words[at + WORDS_OF_VTEP.address + i] = words[i] ?? 0;
    Atomics.add(this.#header, 1, 1);
  }

  /** Grows whenever a peer has moved. */
  get moves(): number {
    return Atomics.load(this.#header, 1);
  }

  /** Where a peer has moved to; undefined: it is where the forwarding state says. */
  movedTo(
    vtep: number,
    underlayFamily: 4 | 6,
  ): { readonly words: Int32Array; readonly port: number } | undefined {
    const at = VTEP_WORDS * vtep;
    const port = this.#words[at + WORDS_OF_VTEP.port]!;
    if (port === 0) return undefined;
    const address = at + WORDS_OF_VTEP.address;
    return { words: this.#words.slice(address, address + (underlayFamily === 4 ? 1 : 4)), port };
  }

  sentData(vtep: number, nowMs: number): void {
    this.#times[VTEP_TIMES * vtep + TIMES_OF_VTEP.dataSent] = nowMs;
  }

  received(vtep: number, isData: boolean, nowMs: number): void {
    const at = VTEP_TIMES * vtep;
    this.#times[at + TIMES_OF_VTEP.received] = nowMs;
    if (isData) this.#times[at + TIMES_OF_VTEP.dataReceived] = nowMs;
  }

  activity(vtep: number): PathActivity {
    const at = VTEP_TIMES * vtep;
    return {
      dataSentMs: this.#times[at + TIMES_OF_VTEP.dataSent]!,
      receivedMs: this.#times[at + TIMES_OF_VTEP.received]!,
      dataReceivedMs: this.#times[at + TIMES_OF_VTEP.dataReceived]!,
    };
  }

  /** Both sides have keys as of `nowMs`. */
  agreed(vtep: number, nowMs: number): void {
    this.#times[VTEP_TIMES * vtep + TIMES_OF_VTEP.handshake] = nowMs;
  }

  /** 0: never. */
  agreedAtMs(vtep: number): number {
    return this.#times[VTEP_TIMES * vtep + TIMES_OF_VTEP.handshake]!;
  }

  #createdAtMs(localIndex: number): number {
    return this.#float64[(this.#slotAt(localIndex) + SLOT.createdAtMs) >> 3]!;
  }

  #slotAt(localIndex: number): number {
    return SLOTS_AT + this.slotOf(localIndex) * SLOT_BYTES;
  }
}
