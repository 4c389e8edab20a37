/**
 * From a question's bytes to the answer's: who may ask at all, what is answered here, what is passed on. Never an open
 * resolver: pods and the node itself are answered, everybody else is refused, and that not without end either.
 */
import type { Clock } from '../clock.ts';
import { formatAddress, type IpAddress } from '../ip/address.ts';
import { RateLimit } from '../rate-limit.ts';
import { answerLimit, encodeAnswer, encodeError } from './answer.ts';
import { FLAG, RCODE } from './constants.ts';
import type { DnsCounters, DnsResult } from './counters.ts';
import { type Exchange, Forwarder } from './forwarder.ts';
import { type Query, readQuery } from './query.ts';
import { upstreamReply } from './upstream-message.ts';
import { answerLocally, type ZoneOptions } from './zone.ts';

export interface ResponderOptions extends ZoneOptions {
  readonly clock: Clock;
  readonly counters: DnsCounters;
  /** Whether it is a pod or this node. */
  readonly mayAsk: (from: IpAddress) => boolean;
  readonly exchange: Exchange;
  readonly resolvers: () => Promise<readonly string[]>;
}

/** Where a question came from, and how. */
export interface Origin {
  readonly from: IpAddress;
  readonly via: 'udp' | 'tcp';
}

/** Of one pod; what is beyond that gets no answer. A pod has the questions of all its programs. */
const PER_SOURCE = { perSecond: 1000, burst: 2000, maxKeys: 4096 } as const;
/** Of all of them, at some 0.1 ms each: the agent has other things to do than to answer questions. */
const ALL = { perSecond: 4000, burst: 4000, maxKeys: 1 } as const;
/**
 * Of those who may not ask. Containers on a Docker engine's other networks ask here first and go on to the next resolver when
 * they are refused, but only after seconds when they hear nothing. No answer is longer than its question.
 */
const REFUSALS = { perSecond: 500, burst: 500, maxKeys: 1 } as const;

export class Responder {
  readonly #options: ResponderOptions;
  readonly #forwarder: Forwarder;
  readonly #perSource = new RateLimit(PER_SOURCE);
  readonly #all = new RateLimit(ALL);
  readonly #refusals = new RateLimit(REFUSALS);

  constructor(options: ResponderOptions) {
    this.#options = options;
    this.#forwarder = new Forwarder(options);
  }

  get cache(): { readonly size: number; readonly bytes: number } {
    return this.#forwarder.cache;
  }

  close(): void {
    this.#forwarder.close();
  }

  /** Undefined: there is no answer. Never rejects. */
  async answer(bytes: Uint8Array, origin: Origin): Promise<Uint8Array | undefined> {
    const { clock, mayAsk } = this.#options;
    const { from, via } = origin;
    const nowMs = clock.now();
    if (!mayAsk(from)) return this.#refuse(bytes, nowMs);
    if (!this.#perSource.take(formatAddress(from), nowMs) || !this.#all.take('', nowMs)) {
      return this.#count('limited', undefined);
    }
    const read = readQuery(bytes);
    if (read.kind === 'ignored') return this.#count('malformed', undefined);
    if (read.kind === 'bad') {
      const result = read.bad.rcode === RCODE.refused ? 'refused' : 'malformed';
      return this.#count(result, encodeError(read.bad, read.bad.rcode));
    }
    const { query } = read;
    const limit = answerLimit(query.edns, via);
    const local = answerLocally({ name: query.name, type: query.type, from, limit }, this.#options);
    if (!local) return this.#forward(query, limit);
    return this.#count(local.answers.length > 0 ? 'answered' : 'absent', encodeAnswer(query, local, limit));
  }

  async #forward(query: Query, limit: number): Promise<Uint8Array> {
    // Whoever wants only what is known here already is told nothing of what others have asked.
    if ((query.flags & FLAG.rd) === 0) return this.#count('refused', encodeError(query, RCODE.refused));
    const { answer, ageSeconds } = await this.#forwarder.ask(query);
    if (!answer) return this.#count('failed', encodeError(query, RCODE.serverFailure));
    return this.#count('forwarded', upstreamReply(query, answer, ageSeconds, limit));
  }

  #refuse(bytes: Uint8Array, nowMs: number): Uint8Array | undefined {
    if (!this.#refusals.take('', nowMs)) return this.#count('refused', undefined);
    const read = readQuery(bytes);
    if (read.kind === 'ignored') return this.#count('refused', undefined);
    return this.#count('refused', encodeError(read.kind === 'bad' ? read.bad : read.query, RCODE.refused));
  }

  #count<T>(result: DnsResult, answer: T): T {
    this.#options.counters.queries[result]++;
    return answer;
  }
}
