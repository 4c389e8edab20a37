import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { datagramHandle } from '../../helpers/datagram-handle.mjs';

test('the descriptor of a UDP socket is found in this version of Node', async () => {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  expect(datagramHandle(socket).fd).toBeGreaterThan(2);
  socket.close();
});
