/** The program that answers checks, and who connects to it, on loopback. */
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Dialler } from '../../../src/check/dial.ts';
import type { ResponderAnswer } from '../../../src/check/responder-messages.ts';
import { startResponder } from '../../../src/check/start-responder.ts';
import { builtFile } from '../../../src/package.ts';

const isBuilt = statSync(builtFile('check/responder'), { throwIfNoEntry: false }) !== undefined;
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

function start(seconds = 5): Promise<ResponderAnswer> {
  const own = { address: '127.0.0.1', netns: undefined };
  return startResponder({
    seconds,
    listenOn: [
      { ...own, pod: null },
      { ...own, pod: 'gone', netns: '/run/netns/none' },
    ],
  });
}

async function dial(answer: ResponderAnswer, token: string, mode: 'echo' | 'sink'): Promise<Socket> {
  const dialler = new Dialler();
  const socket = await dialler.dial(undefined, answer.endpoints[0]!, token, mode);
  dialler.close();
  sockets.push(socket);
  return socket;
}

describe.skipIf(!isBuilt)(
  `the program that answers${isBuilt ? '' : ' (skipped: needs npm run build)'}`,
  () => {
    it('answers where it can, sends back or counts, and nobody without the token', async () => {
      const answer = await start();
      expect(answer.endpoints).toEqual([{ pod: null, address: '127.0.0.1', port: expect.any(Number) }]);
      const echo = await dial(answer, answer.token, 'echo');
      echo.write('hello');
      expect(String((await once(echo, 'data'))[0])).toBe('hello');
      const sink = await dial(answer, answer.token, 'sink');
      sink.end(Buffer.alloc(100_000));
      expect(String((await once(sink, 'data'))[0])).toBe('100000');
      const stranger = await dial(answer, '00'.repeat(16), 'echo');
      stranger.on('error', () => {});
      await once(stranger, 'close');
    });

    it('ends by itself', async () => {
      const answer = await start(1);
      const echo = await dial(answer, answer.token, 'echo');
      await once(echo, 'close');
      const later = connect({ host: '127.0.0.1', port: answer.endpoints[0]!.port });
      const [error] = (await once(later, 'error')) as [NodeJS.ErrnoException];
      expect(['ECONNREFUSED', 'ECONNRESET']).toContain(error.code);
    });
  },
);
