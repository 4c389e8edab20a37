/** Which of several sockets on one port a datagram comes to: on the loopback device, with the real kernel. */
import { afterEach, describe, expect, it } from 'vitest';
import { Arena } from '../../../src/sys/arena.ts';
import { checked } from '../../../src/sys/calls.ts';
import { POLLIN } from '../../../src/sys/constants.ts';
import * as libc from '../../../src/sys/libc.ts';
import { writeSockaddr } from '../../../src/sys/sockaddr.ts';
import { POLLFD } from '../../../src/sys/structs.ts';
import {
  boundPort,
  closeUnderlaySockets,
  openUnderlaySockets,
} from '../../../src/underlay/underlay-socket.ts';

const LOOPBACK = { 4: Int32Array.of(0x7f000001), 6: Int32Array.of(0, 0, 0, 1) } as const;
const FAMILIES = [4, 6] as const;
const TIMEOUT_MS = 5000;

const opened: number[] = [];

afterEach(() => closeUnderlaySockets(opened.splice(0)));

function open(family: 4 | 6, port: number, count: number): readonly number[] {
  const { descriptors } = openUnderlaySockets({
    words: LOOPBACK[family],
    port,
    displayName: 'loopback',
    count,
    wanted: { udpSegment: false, udpGro: false },
  });
  opened.push(...descriptors);
  return descriptors;
}

/** Several sockets on one port that nobody has. */
function openShared(family: 4 | 6, count: number): { port: number; descriptors: readonly number[] } {
  const [free] = open(family, 0, 1);
  const port = boundPort(free!);
  closeUnderlaySockets(opened.splice(opened.indexOf(free!), 1));
  return { port, descriptors: open(family, port, count) };
}

function send(from: number, family: 4 | 6, port: number): void {
  const scratch = new Arena(64);
  const bytes = writeSockaddr(scratch.view, 0, LOOPBACK[family], port);
  checked(libc.connect(from, scratch.address(0), bytes), { call: 'connect', doing: 'sending' });
  checked(libc.write(from, scratch.address(0), 8), { call: 'write', doing: 'sending' });
}

/** Which of `descriptors` has got the one datagram that was sent. */
function receiver(descriptors: readonly number[]): number {
  const scratch = new Arena(descriptors.length * POLLFD.bytes + 64);
  for (const [i, fd] of descriptors.entries()) {
    scratch.view.setInt32(i * POLLFD.bytes + POLLFD.fd, fd, true);
    scratch.view.setInt16(i * POLLFD.bytes + POLLFD.events, POLLIN, true);
  }
  expect(libc.poll(scratch.address(0), descriptors.length, TIMEOUT_MS)).toBe(1);
  const index = descriptors.findIndex((_, i) =>
    scratch.view.getInt16(i * POLLFD.bytes + POLLFD.revents, true),
  );
  expect(libc.read(descriptors[index]!, scratch.address(descriptors.length * POLLFD.bytes), 64)).toBe(8);
  return index;
}

describe.each(FAMILIES)('sockets that share a port, over IPv%i', (family) => {
  it.each([2, 3, 4])('get what comes from a port whose remainder by %i is their number', (count) => {
    const { port, descriptors } = openShared(family, count);
    const senders = Array.from({ length: 16 }, () => open(family, 0, 1)[0]!);
    for (let round = 0; round < 3; round++) {
      for (const sender of senders) {
        send(sender, family, port);
        expect(receiver(descriptors)).toBe(boundPort(sender) % count);
      }
    }
  });
});

describe.each(FAMILIES)('sockets to send from, over IPv%i', (family) => {
  it('have ports in a row, so that each comes to another socket', () => {
    const { port, descriptors } = openShared(family, 3);
    const senders = open(family, 0, 3);
    const first = boundPort(senders[0]!);
    expect(senders.map(boundPort)).toEqual([first, first + 1, first + 2]);
    const receivers = senders.map((sender) => {
      send(sender, family, port);
      return receiver(descriptors);
    });
    expect(receivers.toSorted()).toEqual([0, 1, 2]);
  });
});

describe('a shared port', () => {
  it('is not shared with a stranger', () => {
    const { port } = openShared(4, 2);
    expect(() => open(4, port, 2)).toThrow(/EADDRINUSE/);
  });
});
