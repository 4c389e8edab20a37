/**
 * Messages to frames and back: sealing, replay protection, the frame order of streams, counting. Everything
 * above this file deals in whole messages from nodes that hold the cluster's key; what is in them is not looked at.
 */
import type { IpAddress } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import { type Prefix, prefixContains } from '../ip/prefix.ts';
import { FRAME_COUNTER, type GossipCounters } from './counters.ts';
import type { Deadlines } from './deadline.ts';
import { pack } from './packing.ts';
import { PeerRefusedError } from './peer-refused.ts';
import { ReplayGuard } from './replay-guard.ts';
import type { ClusterKeyBytes, Sealer } from './seal.ts';
import type { Sessions } from './sessions.ts';
import type { Origin } from './stream-admission.ts';
import { type Peer, receiver, StreamClient, type StreamHandler } from './stream-client.ts';
import { MAX_STREAM_BYTES, readMessages, type StreamContext } from './stream-context.ts';
import { type CallAcceptor, type StreamReader, StreamServer } from './stream-server.ts';
import { type Cancellable, type Exchange, MAX_DATAGRAM_BYTES, type Transport } from './transport.ts';

export { PeerRefusedError } from './peer-refused.ts';
export type { Peer } from './stream-client.ts';
export type { Answer, CallAcceptor, CallReader, StreamReader } from './stream-server.ts';

/** Whom a datagram came from: a peer to answer to. */
export interface Sender extends Peer {
  /** The member that runs under the session now; undefined where this node knows of none. */
  readonly id: string | undefined;
  /** It was sent to this very run of this agent. What was not may have been recorded long ago. */
  readonly isAddressed: boolean;
  /** And it comes from the present run of a member that this node knows. */
  readonly isCurrent: boolean;
  /** The key it was sealed with: what the sender is sure to have. */
  readonly key: ClusterKeyBytes | undefined;
}

/** Messages are views that are valid during the call only. */
export interface LinkHandlers {
  datagram(sender: Sender, message: Uint8Array): void;
  stream(from: Endpoint): StreamReader;
}

export interface LinkOptions {
  readonly transport: Transport;
  readonly sealer: Sealer;
  /** Of this run of the agent. */
  readonly sessions: Sessions;
  readonly counters: GossipCounters;
  readonly streamTimeoutMs: number;
  /** Whether a member that is known has this address. */
  readonly isMemberAddress?: (address: IpAddress) => boolean;
  /** Nothing from elsewhere is looked at; absent: all are heard. */
  readonly allowFrom?: readonly Prefix[] | undefined;
  /** The id of the member that runs under this session now. */
  readonly memberOf: (session: string) => string | undefined;
  /** Something was thrown while a frame was handled. What others send must never end the agent. */
  readonly onBug: (error: unknown) => void;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #replays = new ReplayGuard();
  readonly #client: StreamClient;
  readonly #server: StreamServer;
  #handlers: LinkHandlers | undefined;
  #calls: CallAcceptor | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    const { sealer, sessions, counters, transport } = options;
    const guarded: StreamContext['guarded'] = (work, otherwise) => this.#guarded(work, otherwise);
    const context = { sealer, sessions, counters, guarded };
    this.#client = new StreamClient(context, transport);
    this.#server = new StreamServer(context, {
      stream: (from) => this.#handlers?.stream(from),
      call: () => this.#handlers && this.#calls,
    });
  }

  /** What this node seals under now. */
  get session(): string {
    return this.#options.sessions.id;
  }

  /** Whether a session is this run's: the present one, or the one before that others may still name. */
  isOwnSession(session: string): boolean {
    return this.#options.sessions.isOwn(session);
  }

  /** The room for packed messages in one datagram. */
  get datagramBytes(): number {
    return MAX_DATAGRAM_BYTES - this.#options.sealer.overheadBytes;
  }

  async open(handlers: LinkHandlers): Promise<void> {
    this.#handlers = handlers;
    await this.#options.transport.open({
      datagram: (from, bytes) => {
        this.#guarded(() => this.#receiveDatagram(from, bytes), undefined);
      },
      accept: (from, responder) => this.#server.accept(from, responder),
      origin: (address) => this.#origin(address),
    });
  }

  /** Who serves the calls of others. Without one they are refused as an agent does that knows of no calls. */
  serveCalls(accept: CallAcceptor): void {
    this.#calls = accept;
  }

  close(): Promise<void> {
    this.#handlers = undefined;
    return this.#options.transport.close();
  }

  /**
   * `messages` together fit `datagramBytes`; each costs `LENGTH_BYTES` besides its own. Sealed under the primary
   * key, or under `key`.
   */
  send(to: Peer, messages: readonly Uint8Array[], key?: ClusterKeyBytes): void {
    const { transport, sealer, sessions, counters } = this.#options;
    const { session, number } = sessions.next('datagram');
    const header = {
      kind: 'datagram',
      last: true,
      session: session.id,
      receiver: receiver(to),
      number,
    } as const;
    const frame = sealer.seal(header, pack(messages), { key });
    counters.add('sentDatagrams');
    counters.add('sentBytes', frame.length);
    transport.send(to.gossip, frame);
  }

  /**
   * Sends `messages` in a stream and hands over the answer message by message. `done` is called once, with
   * an error (a PeerRefusedError where the other side refuses us) unless the answer was complete. A node whose
   * run is not known, or another by now, says which it is, and is asked again.
   */
  exchange(
    to: Peer,
    messages: readonly Uint8Array[],
    receive: (message: Uint8Array) => void,
    done: (error: Error | undefined) => void,
  ): Cancellable {
    const { streamTimeoutMs } = this.#options;
    const deadlines = { idleMs: streamTimeoutMs, totalMs: streamTimeoutMs };
    const options = { kind: 'request', deadlines, limitBytes: MAX_STREAM_BYTES } as const;
    let current = this.#client.open(to, messages, options, {
      message: receive,
      done: (error) => {
        if (!(error instanceof PeerRefusedError) || error.code !== 'session') done(error);
        else {
          const again = { ...to, session: error.session };
          current = this.#client.open(again, messages, options, { message: receive, done });
        }
      },
    });
    return { cancel: () => current.cancel() };
  }

  /**
   * The same for a call (rpc/), whose answer may take its time. What is signed in it names the other's run: so the
   * caller tries again itself where that is another by now. An agent that knows of no calls refuses it as `invalid`.
   */
  call(
    to: Peer,
    messages: readonly Uint8Array[],
    limits: { readonly deadlines: Deadlines; readonly limitBytes: number },
    handler: StreamHandler,
  ): Exchange {
    return this.#client.open(to, messages, { kind: 'call', ...limits }, handler);
  }

  #guarded<T, U>(work: () => T, otherwise: U): T | U {
    try {
      return work();
    } catch (error) {
      this.#options.counters.add('bugs');
      this.#options.onBug(error);
      return otherwise;
    }
  }

  #isAllowed(address: IpAddress): boolean {
    return this.#options.allowFrom?.some((prefix) => prefixContains(prefix, address)) ?? true;
  }

  #origin(address: IpAddress): Origin {
    const { counters, isMemberAddress } = this.#options;
    if (!this.#isAllowed(address)) {
      counters.add('refusedAddress');
      return 'outside';
    }
    return this.#guarded(() => isMemberAddress?.(address), false) ? 'member' : 'stranger';
  }

  #receiveDatagram(from: Endpoint, bytes: Uint8Array): void {
    const { sealer, sessions, counters } = this.#options;
    if (!this.#isAllowed(from.address)) {
      counters.add('refusedAddress');
      return;
    }
    counters.add('receivedDatagrams');
    counters.add('receivedBytes', bytes.length);
    const opened = sealer.open(bytes);
    if (!opened.ok) {
      counters.add(opened.reason === 'refused' ? 'refusedKind' : FRAME_COUNTER[opened.reason]);
      return;
    }
    const { header, payload } = opened;
    if (header.kind !== 'datagram') {
      counters.add('refusedKind');
      return;
    }
    // In clear text anyone can make up sessions and numbers; refusing repetitions would protect nothing.
    const { session, number } = header;
    if (sealer.sealed && !this.#replays.accept(session, number)) {
      counters.add('refusedReplay');
      return;
    }
    // Recorded frames are for another run, or for another node.
    const isAddressed = !sealer.sealed || sessions.isReceiver(header.receiver);
    const identify = (): Sender => {
      const id = this.#options.memberOf(session);
      const isCurrent = !sealer.sealed || (isAddressed && id !== undefined);
      return { gossip: from, session, id, isAddressed, isCurrent, key: opened.key };
    };
    let sender = identify();
    readMessages(counters, payload, (message) => {
      this.#handlers?.datagram(sender, message);
      // The first message may have been what tells who the sender is.
      if (sender.id === undefined) sender = identify();
    });
  }
}
