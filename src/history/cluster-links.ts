/**
 * What goes between any two nodes, for the map of the web page: each node knows its own links, and is asked for them while
 * somebody looks. Others are asked by `history.links`, whose answer is JSON. Who talks to whom is more than gossip tells, so a
 * node answers only under a cluster key.
 */
import pLimit from 'p-limit';
import type { Clock } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { z } from '../zod.ts';
import { LINKS_METHOD } from './method.ts';
import { MAX_PEER_SERIES } from './ring.ts';

/** However many look, nodes are asked no more often. */
const LEAST_GAP_MS = 8000;
const CALL_TIMEOUT_MS = 3000;
const ASKED_AT_ONCE = 8;
/** Of a larger cluster, those whose ids come first. */
const MAX_ASKED = 256;
const MAX_ANSWER_BYTES = 16 * 1024;

/** From the node that tells of it. */
export interface OwnLink {
  /** Id of the other node. */
  readonly to: string;
  /** Per second, in the last sample. */
  readonly outboundBytes: number;
  /** There are keys in use. */
  readonly isSealed: boolean;
}

export interface ClusterLink extends OwnLink {
  readonly from: string;
}

const answerSchema = z
  .array(
    z.object({
      to: z.string().max(64),
      outboundBytes: z.number().min(0).max(Number.MAX_SAFE_INTEGER),
      isSealed: z.boolean(),
    }),
  )
  .max(MAX_PEER_SERIES);

export interface ClusterLinksOptions {
  readonly rpc: Rpc;
  readonly clock: Clock;
  readonly selfId: string;
  /** Gossip and requests go under a cluster key. */
  readonly isSealed: boolean;
  readonly others: () => Iterable<{ readonly id: string; readonly status: string }>;
  readonly own: () => readonly OwnLink[];
}

export class ClusterLinks {
  readonly #options: ClusterLinksOptions;
  #latest: Promise<readonly ClusterLink[]> | undefined;
  #askedAtMs = 0;

  constructor(options: ClusterLinksOptions) {
    this.#options = options;
  }

  /** What another node gets. Throws KEY_NONE. */
  answer(): Iterable<Uint8Array> {
    const { isSealed, own } = this.#options;
    if (!isSealed)
      throw new WarrenError('KEY_NONE', 'this cluster has no key: a node tells nobody whom it talks to');
    return [Buffer.from(JSON.stringify(own()))];
  }

  /** Of this node and of those that answer. */
  links(): Promise<readonly ClusterLink[]> {
    const { clock } = this.#options;
    if (this.#latest === undefined || clock.now() - this.#askedAtMs >= LEAST_GAP_MS) {
      this.#askedAtMs = clock.now();
      this.#latest = this.#ask();
    }
    return this.#latest;
  }

  async #ask(): Promise<readonly ClusterLink[]> {
    const { rpc, selfId, isSealed, others, own } = this.#options;
    const links: ClusterLink[] = own().map((link) => ({ from: selfId, ...link }));
    if (!isSealed) return links;
    const asked = [...others()]
      .filter(({ status }) => status === 'alive')
      .map(({ id }) => id)
      .sort()
      .slice(0, MAX_ASKED);
    await pLimit(ASKED_AT_ONCE).map(asked, async (id) => {
      try {
        const parts = await rpc.call(id, LINKS_METHOD, new Uint8Array(), {
          timeoutMs: CALL_TIMEOUT_MS,
          maxAnswerBytes: MAX_ANSWER_BYTES,
        });
        const told = answerSchema.parse(JSON.parse(Buffer.concat(parts).toString('utf8')));
        links.push(...told.map((link) => ({ from: id, ...link })));
      } catch {
        // It is of before, or does not answer: the map does without its links.
      }
    });
    return links;
  }
}
