/**
 * The sessions with one peer, three at most:
 *
 *   current    what is sent, is sent with it
 *   previous   the one before: what is on the way still opens
 *   next       this side answered the handshake, and has not heard from the peer yet. Nothing is sent with it until
 *              something opens with it, for only then is the peer known to have the keys (key confirmation)
 *
 * A session that falls out is destroyed, and `onEnd` is told, once.
 */
import type { Session } from './session.ts';

export class Sessions {
  readonly #onEnd: (session: Session) => void;
  #current: Session | undefined;
  #previous: Session | undefined;
  #next: Session | undefined;

  constructor(onEnd: (session: Session) => void) {
    this.#onEnd = onEnd;
  }

  get current(): Session | undefined {
    return this.#current;
  }

  get previous(): Session | undefined {
    return this.#previous;
  }

  get next(): Session | undefined {
    return this.#next;
  }

  /** A session of a handshake that just ended. */
  add(session: Session): void {
    if (session.isInitiator) {
      // The peer has the keys: it sent the response. An unconfirmed one of the peer's own may be in use there already.
      const before = this.#next ?? this.#current;
      if (this.#next !== undefined) this.#end(this.#current);
      this.#end(this.#previous);
      this.#previous = before;
      this.#next = undefined;
      this.#current = session;
    } else {
      this.#end(this.#next);
      this.#end(this.#previous);
      this.#previous = undefined;
      this.#next = session;
    }
  }

  /** Something opened with `session`. True: it was `next`, and is current from now on. */
  confirm(session: Session): boolean {
    if (session !== this.#next) return false;
    this.#end(this.#previous);
    this.#previous = this.#current;
    this.#current = session;
    this.#next = undefined;
    return true;
  }

  endAll(): void {
    const all = [this.#current, this.#previous, this.#next];
    this.#current = undefined;
    this.#previous = undefined;
    this.#next = undefined;
    for (const session of all) this.#end(session);
  }

  #end(session: Session | undefined): void {
    if (session === undefined) return;
    session.destroy();
    this.#onEnd(session);
  }
}
