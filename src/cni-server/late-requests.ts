/**
 * Requests that come too late. A runtime that is killed leaves the plugins that it has started; its next run may delete the
 * same container and be answered before what they ask is read here. So the processes of the plugin say when they were
 * started, and of two that speak of the same attachment the one that was started later counts:
 *
 *     ADD, and a DEL that was started later has been here    refused
 *     DEL, and the ADD of what is there was started later    nothing happens, it is of a container before
 *     GC, and the ADD of what is there was started later     it stays, the list cannot have it
 *
 * An ADD whose answer nobody takes is undone: no runtime knows of what it has attached. But not what was attached before
 * it came, nor what another ADD has been given meanwhile.
 *
 * All of this is in memory: with the agent go the connections of those that could be late.
 */
import type { Caller } from '../cni/messages.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';

/** One is forgotten after so many others, which takes any machine seconds. */
const MAX_DELETIONS = 1024;

export interface LateRequestsOptions {
  /** Whether there is an attachment that is neither being made nor being removed. */
  readonly isAttached: (id: string) => boolean;
  readonly remove: (id: string) => Promise<unknown>;
  readonly log: Logger;
}

/** An ADD, from when it is let in until what it has attached is gone. */
export interface Claim {
  readonly id: string;
  readonly caller: Caller | undefined;
  /** Whether what is attached is there for this one alone. */
  readonly isOwn: boolean;
  /** The one before it, which counts again if this one comes to nothing. */
  before: Claim | undefined;
  isAnswered: boolean;
}

export class LateRequests {
  readonly #options: LateRequestsOptions;
  /** The last ADD of each attachment. Bounded by the attachments and the requests that there are. */
  readonly #claims = new Map<string, Claim>();
  /** When the last DEL of an attachment was started, by its id, the one heard of longest ago first. Bounded by MAX_DELETIONS. */
  readonly #deletions = new Map<string, number>();

  constructor(options: LateRequestsOptions) {
    this.#options = options;
  }

  /** To be called right before the work of an ADD begins. Throws CNI_ADD_LATE. */
  admit(id: string, caller: Caller | undefined): Claim {
    const deletion = this.#deletions.get(id);
    if (caller !== undefined && deletion !== undefined && caller.startedAt < deletion) {
      throw new WarrenError('CNI_ADD_LATE', `${id} has been deleted since this ADD was begun`);
    }
    const before = this.#claims.get(id);
    const isOwn = before === undefined ? !this.#options.isAttached(id) : before.isOwn && !before.isAnswered;
    const claim = { id, caller, isOwn, before, isAnswered: false };
    this.#claims.set(id, claim);
    return claim;
  }

  /** It is attached: undone as soon as `gone` says that nobody waits for that. */
  answer(claim: Claim, gone: AbortSignal | undefined): void {
    claim.before = undefined;
    claim.isAnswered = gone?.aborted !== true;
    const undo = () => void this.undo(claim);
    if (gone?.aborted === true) undo();
    else gone?.addEventListener('abort', undo, { once: true });
  }

  /** It came to nothing. */
  withdraw(claim: Claim): void {
    if (this.#claims.get(claim.id) !== claim) return;
    if (claim.before?.isAnswered === true) this.#claims.set(claim.id, claim.before);
    else this.#claims.delete(claim.id);
  }

  /** The ADD of this process, if it is the last one that was answered with the attachment. */
  claimOf(id: string, caller: Caller): Claim | undefined {
    const claim = this.#claims.get(id);
    const isOf = claim?.caller?.pid === caller.pid && claim.caller.startedAt === caller.startedAt;
    return isOf ? claim : undefined;
  }

  /** Removes what an ADD has attached, if it is there for that one alone. Never rejects. */
  async undo(claim: Claim): Promise<void> {
    const { id, isOwn } = claim;
    if (!isOwn || this.#claims.get(id) !== claim) return;
    this.#claims.delete(id);
    const { remove, log } = this.#options;
    try {
      await remove(id);
      log.info({ id }, 'nobody took the answer of an ADD, and its attachment is removed');
    } catch (error) {
      // It is there until the runtime deletes or collects it, or its namespace is gone.
      log.warn({ id, err: errorMessage(error) }, 'an ADD that nobody took the answer of could not be undone');
    }
  }

  /** False for a DEL that is of a container before the one that is there. */
  admitDeletion(id: string, caller: Caller | undefined): boolean {
    if (caller === undefined) return true;
    const claim = this.#claims.get(id);
    if (isEarlier(caller, claim?.caller)) return false;
    const startedAt = Math.max(caller.startedAt, this.#deletions.get(id) ?? 0);
    this.#deletions.delete(id);
    this.#deletions.set(id, startedAt);
    for (const oldest of this.#deletions.keys()) {
      if (this.#deletions.size <= MAX_DELETIONS) break;
      this.#deletions.delete(oldest);
    }
    return true;
  }

  /** Of attachments that a collection cannot know. */
  idsAfter(caller: Caller | undefined): string[] {
    if (caller === undefined) return [];
    return [...this.#claims.values()].filter((one) => isEarlier(caller, one.caller)).map(({ id }) => id);
  }

  /** What an ADD has attached is gone. One that is still at work attaches it anew. */
  forget(id: string): void {
    if (this.#claims.get(id)?.isAnswered === true) this.#claims.delete(id);
  }
}

function isEarlier(one: Caller, other: Caller | undefined): boolean {
  return other !== undefined && one.startedAt < other.startedAt;
}
