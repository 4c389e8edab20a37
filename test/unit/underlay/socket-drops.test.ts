import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, expect, it } from 'vitest';
import { addressWords, parseAddress } from '../../../src/ip/address.ts';
import { Arena } from '../../../src/sys/arena.ts';
import { setIntOption } from '../../../src/sys/calls.ts';
import { EAGAIN, MSG_DONTWAIT, SO_RCVBUF, SOL_SOCKET } from '../../../src/sys/constants.ts';
import * as libc from '../../../src/sys/libc.ts';
import { socketDrops } from '../../../src/underlay/socket-drops.ts';
import {
  boundPort,
  closeUnderlaySockets,
  openUnderlaySockets,
} from '../../../src/underlay/underlay-socket.ts';

const SENT = 500;

const opened: number[] = [];
afterEach(() => closeUnderlaySockets(opened.splice(0)));

it('is what was sent and did not come', async () => {
  const { descriptors } = openUnderlaySockets({
    words: addressWords(parseAddress('127.0.0.1')),
    port: 0,
    displayName: '127.0.0.1',
    count: 1,
    wanted: { udpSegment: false, udpGro: true },
  });
  opened.push(...descriptors);
  const fd = descriptors[0]!;
  const scratch = new Arena(2048);
  setIntOption(fd, SOL_SOCKET, SO_RCVBUF, 20_000, scratch, { call: 'setsockopt', doing: 'making it small' });
  expect(socketDrops(fd)).toBe(0);
  const sender = createSocket('udp4');
  sender.connect(boundPort(fd), '127.0.0.1');
  await once(sender, 'connect');
  for (let i = 0; i < SENT; i++) {
    await new Promise<void>((resolve, reject) =>
      sender.send('x', (error) => (error ? reject(error) : resolve())),
    );
  }
  sender.close();
  let received = 0;
  while (libc.recv(fd, scratch.address(0), 2048, MSG_DONTWAIT) > 0) received++;
  expect(libc.errno()).toBe(EAGAIN);
  const dropped = socketDrops(fd)!;
  expect(dropped).toBeGreaterThan(0);
  expect(received + dropped).toBe(SENT);
});

it('is not known of what is no socket', () => {
  expect(socketDrops(-1)).toBeUndefined();
});
