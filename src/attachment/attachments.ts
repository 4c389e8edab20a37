/**
 * The attachments of this node: what has an address of it, and an interface pair that carries the packets there.
 *
 * Each goes by an opaque id. All operations may be called again and again; those on one id run one after the other,
 * those on different ids at the same time. Who makes attachments (named pods, CNI, Docker) keeps nothing of its own.
 */
import { EventEmitter } from 'node:events';
import { realClock } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import { Histogram } from '../histogram.ts';
import type { Family, IpAddress } from '../ip/address.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import {
  type Attachment,
  type AttachmentDescription,
  type AttachmentRequest,
  isSameRequest,
  wantedAttachment,
} from './attachment.ts';
import {
  type AttachmentChange,
  type AttachmentLimits,
  AttachmentMaker,
  type AttachmentProblem,
  type AttachmentsOptions,
  nameOf,
} from './attachment-maker.ts';
import { forEachAtOnce, KeyedQueue } from './keyed-queue.ts';
import type { AttachmentEntry } from './namespace-rules.ts';

/** Operations that wait for others on the same id, all ids together. */
const MAX_WAITING = 1024;
/** Attachments that `restore`, `repair`, `gc` and `setLimits` work on at the same time. */
const AT_ONCE = 8;

export interface AttachmentsEvents {
  change: [change: AttachmentChange];
}

/** What was worked on, and what could not be. */
export interface Outcome {
  readonly done: readonly string[];
  readonly failed: readonly { readonly id: string; readonly error: unknown }[];
}

export class Attachments extends EventEmitter<AttachmentsEvents> {
  readonly #options: AttachmentsOptions;
  readonly #log: Logger;
  readonly #maker: AttachmentMaker;
  readonly #queue = new KeyedQueue({ maxWaiting: MAX_WAITING });
  #isClosed = false;
  /** How long `add` took where it succeeded, waiting included. */
  readonly durations = new Histogram();

  /** Reads what is remembered; changes nothing yet. Throws STATE_CORRUPT and the like. */
  constructor(options: AttachmentsOptions) {
    super();
    this.#options = options;
    this.#log = options.log;
    this.#maker = new AttachmentMaker(options, (change) => this.emit('change', change));
  }

  get size(): number {
    return this.#maker.entries.size;
  }

  /** In the order in which they were added. */
  list(): Attachment[] {
    return [...this.#maker.entries.values()].map((entry) => this.#maker.describe(entry));
  }

  get(id: string): Attachment | undefined {
    const entry = this.#maker.entries.get(id);
    return entry && this.#maker.describe(entry);
  }

  /** Those in the network namespace at `path`, whatever paths they know it by. */
  inNamespace(path: string): Attachment[] {
    return this.#maker.inNamespace(path).map((entry) => this.#maker.describe(entry));
  }

  /**
   * Makes an attachment. If there is one of this id and the same request it is that one, made whole if it was not.
   * If it fails, nothing of a new one is left. Throws ATTACHMENT_INVALID, ATTACHMENT_EXISTS (of another request),
   * ATTACHMENT_INTERFACE_TAKEN, ATTACHMENT_LIMIT, ATTACHMENT_BUSY, ADDRESS_*, POD_*, STATE_UNWRITABLE or what the
   * network says.
   */
  async add(request: AttachmentRequest): Promise<Attachment> {
    const wanted = wantedAttachment(request, this.#options.nodeId);
    const { clock = realClock } = this.#options;
    const sinceMs = clock.now();
    const attached = await this.#run(wanted.id, async () => {
      const maker = this.#maker;
      const known = maker.entries.get(wanted.id);
      if (known === undefined) return maker.describe(await maker.create(wanted));
      if (!isSameRequest(known.record, wanted)) {
        throw new WarrenError('ATTACHMENT_EXISTS', `${wanted.id} is attached already, in another way`, {
          hint: 'Delete it first, or give the new one another id.',
        });
      }
      // The caller says that the namespace is the one at this path, whichever that was before.
      if (maker.describe(known).status !== 'ready') await maker.makeWhole(known, { isSamePath: true });
      return maker.describe(known);
    });
    this.durations.observe((clock.now() - sinceMs) / 1000);
    return attached;
  }

  /** Removes an attachment and frees its addresses. It is given as it was; undefined if there was none. */
  async delete(id: string): Promise<Attachment | undefined> {
    return this.#run(id, async () => {
      const entry = this.#maker.entries.get(id);
      if (entry === undefined) return undefined;
      const removed = this.#maker.describe(entry);
      await this.#maker.remove(entry);
      return removed;
    });
  }

  /** What is wrong with an attachment; empty if nothing is. */
  async check(id: string): Promise<AttachmentProblem[]> {
    return this.#run(id, async () => {
      const entry = this.#maker.entries.get(id);
      if (entry === undefined) return [{ code: 'unknown', message: `there is no attachment ${id}` }];
      return this.#maker.problems(entry);
    });
  }

  /**
   * What people call an attachment and its network, where that is known only once it is there; it stays what it is otherwise.
   * Nothing happens if there is none of this id. Throws ATTACHMENT_INVALID.
   */
  async describe(id: string, said: AttachmentDescription): Promise<void> {
    return this.#run(id, async () => {
      const entry = this.#maker.entries.get(id);
      if (entry !== undefined) await this.#maker.setDescription(entry, said);
    });
  }

  /** Says whether an attachment is made from the node's configuration. Nothing happens if there is none of this id. */
  async setStatic(id: string, isStatic: boolean): Promise<void> {
    return this.#run(id, async () => {
      const entry = this.#maker.entries.get(id);
      if (entry !== undefined) await this.#maker.setStatic(entry, isStatic);
    });
  }

  /**
   * Removes all attachments of one client and network but those in `keepIds`; says which. One that is being made just
   * now is none of them: who made the list cannot have known it. Goes on past those that cannot be removed.
   */
  async gc(
    scope: { readonly client: string; readonly network: string },
    keepIds: readonly string[],
  ): Promise<Outcome> {
    const keep = new Set(keepIds);
    const doomed = [...this.#maker.entries.values()].filter(
      ({ record, state }) =>
        record.client === scope.client &&
        record.network === scope.network &&
        !keep.has(record.id) &&
        state !== 'adding',
    );
    return this.#forEach(doomed, 'attachment could not be collected', (entry) => this.#maker.remove(entry));
  }

  /**
   * Removes every attachment of every client: the node is being cleaned up. Goes on past those that cannot be removed;
   * throws what the first of them says.
   */
  async deleteAll(): Promise<void> {
    const { failed } = await this.#forEach(
      [...this.#maker.entries.values()],
      'attachment could not be removed',
      (entry) => this.#maker.remove(entry),
    );
    for (const { error } of failed) throw error;
  }

  /**
   * Makes whole all that is remembered; what is there is left alone. An attachment outside of the node's subnets gets
   * new addresses. One that fails is logged and reported as `missing`; its addresses stay its own.
   */
  async restore(): Promise<void> {
    await this.#maker.takeOver();
    await this.#forEach(
      [...this.#maker.entries.values()],
      'attachment could not be restored',
      async (entry) => {
        const { netns } = entry.record;
        const isWhole = await this.#maker.makeWhole(entry, { isSamePath: false });
        if (isWhole) return;
        this.#log.warn({ ...nameOf(entry.record), netns }, 'the network namespace of an attachment is gone');
      },
    );
  }

  /**
   * Puts back what others removed or changed of the interfaces and routes on the node's side; says which attachments
   * that were, and which it could not. One whose namespace is gone stays `missing`: its programs cannot be put back.
   * Logs nothing: the caller asks often, and knows whether it has said the same before.
   */
  async repair(): Promise<Outcome> {
    const entries = await this.#maker.findDamaged();
    return this.#forEach(entries, undefined, (entry) => this.#maker.ensureAgain(entry));
  }

  /** For other limits of the data plane: all attachments follow. */
  async setLimits(limits: AttachmentLimits): Promise<Outcome> {
    const { mtu, gsoMaxSegments } = this.#maker.limits;
    if (limits.mtu === mtu && limits.gsoMaxSegments === gsoMaxSegments) return { done: [], failed: [] };
    this.#maker.setLimits(limits);
    return this.#forEach(
      // Also those that are being made just now, perhaps with the limits of before.
      [...this.#maker.entries.values()],
      'attachment could not follow the MTU',
      async (entry) => {
        const isWorking = await this.#maker.ensureAgain(entry);
        if (limits.mtu !== mtu) this.emit('change', { id: entry.record.id, kind: 'changed' });
        return isWorking;
      },
    );
  }

  /** For a node that got other subnets while it runs. Who is attached keeps its addresses until `restore`. */
  setSubnets(subnets: readonly Prefix[]): void {
    this.#maker.setSubnets(subnets);
  }

  /** What of the node's subnets is given to nobody that is attached from now on. */
  setReserved(prefixes: readonly Prefix[]): void {
    this.#maker.setReserved(prefixes);
  }

  /**
   * Keeps an address back for an attachment that asks for it in a moment; a restart forgets that. Throws POD_NO_SUBNET,
   * POD_SUBNET_EXHAUSTED, ADDRESS_TAKEN, ADDRESS_OUTSIDE, ADDRESS_HOLD_LIMIT.
   */
  hold(family: Family, requested?: IpAddress): IpAddress {
    return this.#maker.hold(family, requested);
  }

  /** Gives back what is kept back; nothing happens if it is not. */
  release(address: IpAddress): void {
    this.#maker.release(address);
  }

  /** Takes no more work, and resolves when all that was taken is done. What is attached stays. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#queue.idle();
    await this.#maker.idle();
  }

  #run<T>(id: string, work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new WarrenError('ATTACHMENTS_CLOSED', 'the agent is stopping');
    return this.#queue.run(id, work);
  }

  /**
   * Works on each in its turn, several at a time, past those that fail. Left out are those that are gone by then, and
   * those for which `work` says false. `problem` is what the log says of one that fails; undefined: nothing.
   */
  async #forEach(
    entries: readonly AttachmentEntry[],
    problem: string | undefined,
    work: (entry: AttachmentEntry) => Promise<unknown>,
  ): Promise<Outcome> {
    const done: string[] = [];
    const failed: { id: string; error: unknown }[] = [];
    await forEachAtOnce(entries, AT_ONCE, (entry) => {
      const { id } = entry.record;
      const isDue = () => !this.#isClosed && this.#maker.entries.get(id) === entry;
      const turn = async () => {
        if (!isDue()) return;
        try {
          if ((await work(entry)) !== false) done.push(id);
        } catch (error) {
          failed.push({ id, error });
          if (problem !== undefined)
            this.#log.error({ ...nameOf(entry.record), err: error, hint: hintOf(error) }, problem);
        }
      };
      return this.#queue.run(id, turn, { isOwn: true });
    });
    return { done, failed };
  }
}

function hintOf(error: unknown): string | undefined {
  return error instanceof WarrenError ? error.hint : undefined;
}
