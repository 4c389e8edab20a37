/**
 * What this node does of traces, for itself and for others that ask by `trace.node`: begin to look, send, say how it goes, and end.
 * What nobody ends is ended after a while, so that whoever asks and goes leaves nothing.
 */
import type { Clock, Timer } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { NodeQuestion } from './messages.ts';
import type { NodeObservation } from './model.ts';
import type { Observation, ObservationRequest, Outlook } from './observation.ts';

/** At a time, of this node and of others together. */
const MAX_RUNNING = 8;
/** Without a question. */
const FORGOTTEN_MS = 15_000;

export type RunningObservation = Pick<Observation, 'send' | 'look' | 'end' | 'close'>;

export interface NodeTracesOptions {
  readonly clock: Clock;
  readonly begin: (request: ObservationRequest) => Promise<RunningObservation>;
  readonly sourceOf: (request: Omit<ObservationRequest, 'tunnel' | 'other'>) => Promise<string>;
  /** Whether this address is of this node, or of one of its pods. */
  readonly isOwn: (address: string) => boolean;
}

interface Running {
  readonly observation: RunningObservation;
  timer: Timer;
}

export class NodeTraces {
  readonly #options: NodeTracesOptions;
  /** By id; MAX_RUNNING at most. */
  readonly #running = new Map<string, Running>();
  #beginning = 0;
  #isClosed = false;

  constructor(options: NodeTracesOptions) {
    this.#options = options;
  }

  /** Throws TRACE_LIMIT, TRACE_UNKNOWN, TRACE_NOT_OURS, and what an observation throws. */
  async answer(question: NodeQuestion): Promise<{ source: string } | Outlook | NodeObservation> {
    switch (question.action) {
      case 'source':
        return { source: await this.#options.sourceOf({ ...question, role: 'source' }) };
      case 'begin':
        await this.#begin(question);
        return NOTHING_SEEN;
      case 'send': {
        const { observation } = this.#find(question.id);
        observation.send();
        return observation.look();
      }
      case 'look':
        return this.#find(question.id).observation.look();
      case 'end': {
        const { observation, timer } = this.#find(question.id);
        timer.cancel();
        this.#running.delete(question.id);
        return observation.end({ triesAgent: question.triesAgent });
      }
    }
  }

  /** Ends all that run; nothing begins any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#running.values()];
    this.#running.clear();
    await Promise.all(
      all.map(({ observation, timer }) => {
        timer.cancel();
        return observation.close();
      }),
    );
  }

  async #begin({
    id,
    flow,
    given,
    role,
    tunnel,
    other,
  }: Extract<NodeQuestion, { action: 'begin' }>): Promise<void> {
    const { begin, isOwn } = this.#options;
    if (role !== 'destination' && !isOwn(given))
      throw new WarrenError('TRACE_NOT_OURS', `${given} is no address of this node or one of its pods`);
    if (this.#running.size + this.#beginning >= MAX_RUNNING || this.#running.has(id))
      throw new WarrenError('TRACE_LIMIT', `${MAX_RUNNING} traces run on that node already`, {
        hint: 'Wait until one is over.',
      });
    this.#beginning++;
    try {
      const observation = await begin({ flow, given, role, tunnel, other });
      if (this.#isClosed) {
        await observation.close();
        throw new WarrenError('TRACE_UNKNOWN', 'that trace is over');
      }
      this.#running.set(id, { observation, timer: this.#timer(id) });
    } finally {
      this.#beginning--;
    }
  }

  #find(id: string): Running {
    const found = this.#running.get(id);
    if (found === undefined) throw new WarrenError('TRACE_UNKNOWN', 'that trace is over');
    found.timer.cancel();
    found.timer = this.#timer(id);
    return found;
  }

  #timer(id: string): Timer {
    return this.#options.clock.after(FORGOTTEN_MS, () => {
      const found = this.#running.get(id);
      this.#running.delete(id);
      void found?.observation.close().catch(() => {});
    });
  }
}

const NOTHING_SEEN: Outlook = { hasSeen: false, hasArrived: false, isAnswered: false, isLost: false };
