/** TCP connections from this node and its pods, out of one process. */
import { closeSync, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { enterNetworkNamespace } from '../sys/namespaces.ts';
import { MODE, type ResponderEndpoint } from './responder-messages.ts';

export class Dialler {
  readonly #home = openSync('/proc/self/ns/net', 'r');
  /** A connection belongs to the namespace that its thread is in while it begins: one at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  /** Of the namespace at `netns`; undefined: of this process. It is under way, and may fail. */
  dial(
    netns: string | undefined,
    { address, port }: ResponderEndpoint,
    token: string,
    mode: keyof typeof MODE,
  ): Promise<Socket> {
    const dialled = this.#turn.then(async () => {
      if (netns !== undefined) enter(netns);
      try {
        const socket = connect({ host: address, port, noDelay: true });
        socket.write(Buffer.concat([Buffer.from(token, 'hex'), Buffer.from([MODE[mode]])]));
        // The socket is made in the next turn of the event loop.
        await new Promise(setImmediate);
        return socket;
      } finally {
        if (netns !== undefined) enterNetworkNamespace(this.#home);
      }
    });
    this.#turn = dialled.catch(() => {});
    return dialled;
  }

  close(): void {
    closeSync(this.#home);
  }
}

function enter(netns: string): void {
  const fd = openSync(netns, 'r');
  try {
    enterNetworkNamespace(fd);
  } finally {
    closeSync(fd);
  }
}
