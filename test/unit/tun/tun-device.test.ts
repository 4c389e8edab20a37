/** Which queue of a real TUN device a flow comes out of. */
import { execFileSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { Arena } from '../../../src/sys/arena.ts';
import { POLLIN } from '../../../src/sys/constants.ts';
import * as libc from '../../../src/sys/libc.ts';
import { POLLFD } from '../../../src/sys/structs.ts';
import { closeTunDevice, openTunDevice, type TunDevice } from '../../../src/tun/tun-device.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../../../src/wire/virtio-net.ts';
import { enterOwnNetns } from '../../helpers/own-netns.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

const NAME = 'warren0';
const [OWN, OTHER, PORT] = ['10.9.0.1', '10.9.0.2', 9000];
const QUEUES = 2;
const TIMEOUT_MS = 5000;

const PACKET = QUEUES * POLLFD.bytes;
const PACKET_BYTES = 256;

describeUnless(lacking('root', 'ip'), 'a TUN device with two queues', () => {
  const arena = new Arena(PACKET + PACKET_BYTES);
  const sockets: Socket[] = [];
  let device: TunDevice;

  beforeAll(() => {
    enterOwnNetns();
    device = openTunDevice(NAME, QUEUES, { tso: false, uso: false });
    execFileSync('ip', ['link', 'set', 'dev', NAME, 'up']);
    execFileSync('ip', ['address', 'add', `${OWN}/24`, 'dev', NAME]);
    return () => closeTunDevice(device);
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.close();
  });

  async function openFlow(): Promise<Socket> {
    const socket = createSocket('udp4');
    sockets.push(socket);
    socket.bind(0, OWN);
    await once(socket, 'listening');
    return socket;
  }

  /** The queue that the datagram from `socket` comes out of; it stays in the arena. */
  async function queueOf(socket: Socket): Promise<number> {
    await new Promise((resolve) => socket.send('question', PORT, OTHER, resolve));
    for (const [i, fd] of device.readFds.entries()) {
      arena.view.setInt32(i * POLLFD.bytes + POLLFD.fd, fd, true);
      arena.view.setInt16(i * POLLFD.bytes + POLLFD.events, POLLIN, true);
    }
    for (;;) {
      expect(libc.poll(arena.address(0), QUEUES, TIMEOUT_MS)).toBeGreaterThan(0);
      const queue = device.readFds.findIndex((_, i) =>
        arena.view.getInt16(i * POLLFD.bytes + POLLFD.revents, true),
      );
      const bytes = libc.read(device.readFds[queue]!, arena.address(PACKET), PACKET_BYTES);
      expect(bytes).toBeGreaterThan(0);
      // The kernel also looks for neighbours and routers.
      if (Buffer.from(arena.bytes.subarray(PACKET, PACKET + bytes)).includes('question')) return queue;
    }
  }

  /** Sends the datagram in the arena back through `fd`: with the addresses swapped its checksums stay right. */
  async function sendBack(socket: Socket, fd: number): Promise<void> {
    const received = once(socket, 'message');
    const ip = PACKET + VIRTIO_NET_HEADER_BYTES;
    const bytes = VIRTIO_NET_HEADER_BYTES + arena.view.getUint16(ip + 2);
    swap(ip + 12, ip + 16, 4);
    swap(ip + 20, ip + 22, 2);
    expect(libc.write(fd, arena.address(PACKET), bytes)).toBe(bytes);
    expect(String((await received)[0])).toBe('question');
  }

  function swap(a: number, b: number, bytes: number): void {
    const kept = arena.bytes.slice(a, a + bytes);
    arena.bytes.copyWithin(a, b, b + bytes);
    arena.bytes.set(kept, b);
  }

  it('has every flow come out of one queue, whichever queue its answers are written to', async () => {
    const used = new Set<number>();
    for (let flow = 0; flow < 16; flow++) {
      const socket = await openFlow();
      const queue = await queueOf(socket);
      used.add(queue);
      for (const writeFd of device.writeFds) {
        await sendBack(socket, writeFd);
        expect(await queueOf(socket)).toBe(queue);
      }
    }
    // Not because there is but one.
    expect(used.size).toBe(QUEUES);
  });
});
