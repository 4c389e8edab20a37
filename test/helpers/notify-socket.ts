/** A unix datagram socket that a test receives on, as a service manager does: at a path, or abstract with a leading @. */
import { setTimeout as delay } from 'node:timers/promises';
import { Arena } from '../../src/sys/arena.ts';
import { checked } from '../../src/sys/calls.ts';
import { AF_UNIX, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_DGRAM } from '../../src/sys/constants.ts';
import * as libc from '../../src/sys/libc.ts';
import { unixAddress } from '../../src/sys/unix-datagram.ts';

export class NotifySocket {
  readonly name: string;
  readonly received: string[] = [];
  readonly #fd: number;
  readonly #buffer = new Arena(4096);

  constructor(name: string) {
    this.name = name;
    const context = (call: string) => ({ call, doing: `listening on ${name}` });
    this.#fd = checked(libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), context('socket'));
    const { arena, bytes } = unixAddress(name);
    checked(libc.bind(this.#fd, arena.address(0), bytes), context('bind'));
  }

  /** Takes what has come. */
  poll(): readonly string[] {
    for (;;) {
      const bytes = libc.recv(this.#fd, this.#buffer.address(0), this.#buffer.bytes.length, MSG_DONTWAIT);
      if (bytes < 0) return this.received;
      this.received.push(Buffer.from(this.#buffer.bytes.subarray(0, bytes)).toString());
    }
  }

  /** The first message since `from` that has what `pattern` says. Throws after `limitMs`. */
  async message(pattern: RegExp, { from = 0, limitMs = 20_000 } = {}): Promise<string> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const found = this.poll()
        .slice(from)
        .find((text) => pattern.test(text));
      if (found !== undefined) return found;
      if (performance.now() > deadline)
        throw new Error(`no message has ${pattern}: ${JSON.stringify(this.received)}`);
      await delay(20);
    }
  }

  close(): void {
    libc.close(this.#fd);
  }
}
