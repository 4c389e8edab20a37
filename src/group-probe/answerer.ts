/**
 * The asked node's side of `groups.probe`: counts what comes of announced datagrams. What was not announced, or comes
 * from elsewhere than the asker's own overlay address, is not looked at; that a source belongs to its node the packet path
 * has seen to.
 */
import { type Clock, type Timer, TimerGroup } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import { formatAddress, type IpAddress, sameAddress } from '../ip/address.ts';
import type { RpcCaller } from '../rpc/rpc.ts';
import { decodeDatagram, probeOf } from './datagram.ts';
import { type Announcement, decodeAnnouncement, encodeReady, encodeResult } from './messages.ts';
import type { ProbeReceiver, ProbeSockets } from './sockets.ts';

/** At a time; of one node, and of all. */
const MAX_OF_ONE = 2;
const MAX_OF_ALL = 32;
/** A second, of all nodes: 6 % of a core. Who is refused asks again later. */
const MAX_PER_SECOND = 16;
/** For the first datagram to come: it is sent when the asker has heard the port. */
const FIRST_WAIT_MS = 1000;
/** After the last one that came. */
const QUIET_MS = 100;
/** In all, however they trickle in. */
const MAX_WAIT_MS = 3000;
/** A socket that nobody has used for so long is closed. */
const IDLE_MS = 30_000;

export interface AnswererOptions {
  readonly clock: Clock;
  readonly sockets: ProbeSockets;
  /** This node's own overlay addresses. */
  readonly own: () => readonly IpAddress[];
  /** The overlay addresses of another node. */
  readonly addressesOf: (memberId: string) => readonly IpAddress[];
}

interface Collecting {
  readonly caller: string;
  readonly announcement: Announcement;
  readonly received: Set<number>[];
  damaged: number;
  missing: number;
  /** Called at each of its datagrams. */
  onDatagram: () => void;
}

interface Listening {
  readonly address: IpAddress;
  readonly receiver: Promise<ProbeReceiver>;
  uses: number;
  idle: Timer | undefined;
}

export class Answerer {
  readonly #options: AnswererOptions;
  readonly #timers: TimerGroup;
  /** By probe id; MAX_OF_ALL. */
  readonly #collecting = new Map<string, Collecting>();
  /** By address; this node has one of each family. */
  readonly #listening = new Map<string, Listening>();
  #second = { startMs: 0, count: 0 };

  constructor(options: AnswererOptions) {
    this.#options = options;
    this.#timers = new TimerGroup(options.clock);
  }

  /** Serves a call. */
  async *answer(body: Uint8Array, caller: RpcCaller, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const announcement = this.#accept(body, caller);
    const listening = this.#listen(announcement.to);
    const collecting: Collecting = {
      caller: caller.id,
      announcement,
      received: Array.from({ length: announcement.rounds }, () => new Set<number>()),
      damaged: 0,
      missing: announcement.rounds * announcement.datagrams,
      onDatagram: () => {},
    };
    this.#collecting.set(announcement.id, collecting);
    try {
      const { port } = await listening.receiver;
      yield encodeReady(port);
      await this.#collected(collecting, signal);
      yield encodeResult(collecting);
    } finally {
      this.#collecting.delete(announcement.id);
      this.#unlisten(listening);
    }
  }

  close(): void {
    this.#timers.close();
    for (const listening of this.#listening.values()) this.#closeListening(listening);
    this.#listening.clear();
  }

  #accept(body: Uint8Array, caller: RpcCaller): Announcement {
    const { clock, own, addressesOf } = this.#options;
    const decoded = decodeAnnouncement(body);
    if (!decoded.ok) throw new WarrenError('RPC_REFUSED', 'the announcement of a group probe makes no sense');
    const { id, to, from } = decoded.value;
    if (!own().some((address) => sameAddress(address, to))) {
      throw new WarrenError('NO_SUBNET', `this node does not have the address ${formatAddress(to)} now`);
    }
    if (!addressesOf(caller.id).some((address) => sameAddress(address, from))) {
      throw new WarrenError('RPC_REFUSED', `${formatAddress(from)} is not known as an address of that node`);
    }
    if (clock.now() - this.#second.startMs >= 1000) this.#second = { startMs: clock.now(), count: 0 };
    const ofOne = [...this.#collecting.values()].filter((one) => one.caller === caller.id).length;
    if (
      this.#collecting.has(id) ||
      ofOne >= MAX_OF_ONE ||
      this.#collecting.size >= MAX_OF_ALL ||
      ++this.#second.count > MAX_PER_SECOND
    ) {
      throw new WarrenError('RPC_REFUSED', 'too many group probes at a time');
    }
    return decoded.value;
  }

  /** Resolves once all have come, or no more do, or nobody wants to know any more. */
  #collected(collecting: Collecting, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        quiet.cancel();
        limit.cancel();
        signal.removeEventListener('abort', done);
        collecting.onDatagram = () => {};
        resolve();
      };
      const limit = this.#timers.after(MAX_WAIT_MS, done);
      let quiet = this.#timers.after(FIRST_WAIT_MS, done);
      signal.addEventListener('abort', done);
      collecting.onDatagram = () => {
        quiet.cancel();
        if (collecting.missing === 0) done();
        else quiet = this.#timers.after(QUIET_MS, done);
      };
    });
  }

  #datagram(bytes: Uint8Array, from: IpAddress, at: IpAddress): void {
    const id = probeOf(bytes);
    const collecting = id === undefined ? undefined : this.#collecting.get(id);
    if (!collecting) return;
    const { announcement, received } = collecting;
    if (!sameAddress(from, announcement.from) || !sameAddress(at, announcement.to)) return;
    const mark = decodeDatagram(bytes);
    const slots = mark && received[mark.round];
    if (!mark || !slots || mark.slot >= announcement.datagrams) collecting.damaged++;
    else if (!slots.has(mark.slot)) {
      slots.add(mark.slot);
      collecting.missing--;
    }
    collecting.onDatagram();
  }

  #listen(address: IpAddress): Listening {
    const key = formatAddress(address);
    let listening = this.#listening.get(key);
    if (!listening) {
      const onDatagram = (bytes: Uint8Array, from: IpAddress) => this.#datagram(bytes, from, address);
      const receiver = this.#options.sockets.openReceiver(address, onDatagram);
      listening = { address, receiver, uses: 0, idle: undefined };
      this.#listening.set(key, listening);
      // Who waits for it hears why; the next one tries again.
      receiver.catch(() => this.#listening.delete(key));
    }
    listening.uses++;
    listening.idle?.cancel();
    return listening;
  }

  #unlisten(listening: Listening): void {
    if (--listening.uses > 0) return;
    listening.idle = this.#timers.after(IDLE_MS, () => {
      this.#closeListening(listening);
      this.#listening.delete(formatAddress(listening.address));
    });
  }

  #closeListening({ receiver }: Listening): void {
    receiver.then(
      (open) => open.close(),
      () => {},
    );
  }
}
