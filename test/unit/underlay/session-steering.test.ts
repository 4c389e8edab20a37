/** Real sockets on loopback: who gets what. */
import { afterEach, expect, it } from 'vitest';
import { addressWords, parseAddress } from '../../../src/ip/address.ts';
import * as libc from '../../../src/sys/libc.ts';
import { DatagramSocket } from '../../../src/underlay/datagram-socket.ts';
import { boundPort, openUnderlaySockets } from '../../../src/underlay/underlay-socket.ts';

const fds: number[] = [];
afterEach(() => {
  for (const fd of fds.splice(0)) libc.close(fd);
});

function open(address: string, port: number, count: number, hasHandshakes: boolean, acceptsOthers = false) {
  const words = addressWords(parseAddress(address));
  const wanted = { udpSegment: false, udpGro: true };
  const sockets = openUnderlaySockets({
    words,
    port,
    displayName: address,
    count,
    hasHandshakes,
    acceptsOthers,
    wanted,
  });
  fds.push(...sockets.descriptors, ...(sockets.handshakes === undefined ? [] : [sockets.handshakes]));
  return sockets;
}

function freePort(address: string): number {
  const { descriptors } = open(address, 0, 1, false);
  const port = boundPort(descriptors[0]!);
  libc.close(fds.pop()!);
  return port;
}

it.each([
  ['127.0.0.1', 4, false],
  ['::1', 6, false],
  ['127.0.0.1', 4, true],
] as const)(
  'handshakes come apart, and data to the thread of its session: %s, accept %s',
  (address, family, accepts) => {
    const port = freePort(address);
    const { descriptors, handshakes } = open(address, port, 3, true, accepts);
    const receivers = [handshakes!, ...descriptors].map((fd) => new DatagramSocket(fd, family));
    const sender = new DatagramSocket(open(address, 0, 1, false).descriptors[0]!, family);
    const to = Uint8Array.from([
      ...(family === 4 ? [127, 0, 0, 1] : [...Array(15).fill(0), 1]),
      ...[port >> 8, port & 0xff],
    ]);
    const datagram = (type: number, low: number) => Uint8Array.from([type, 0, 0, 0, low, 9, 9, 9]);
    const cases: [number, number, number][] = [
      ...[1, 2, 3, 0].map((type): [number, number, number] => [type, 7, 0]),
      // What is of another encapsulation, if that is taken.
      ...[5, 12, 255].map((type): [number, number, number] => [type, 7, accepts ? 1 : 0]),
      ...[0, 1, 2, 3, 100, 254, 255].map((low): [number, number, number] => [4, low, 1 + (low % 3)]),
    ];
    for (const [type, low, receiver] of cases) {
      expect(sender.send(datagram(type, low), to)).toBe(true);
      const got = receivers.map((one) => one.receive());
      expect(got.map((one) => one !== undefined)).toEqual(receivers.map((_, i) => i === receiver));
      expect(Uint8Array.from(got[receiver]!.datagram)).toEqual(datagram(type, low));
      const from = Buffer.from(got[receiver]!.from);
      expect(from.subarray(0, -2)).toEqual(Buffer.from(to.subarray(0, -2)));
      expect(from.readUInt16BE(from.length - 2)).toBe(boundPort(sender.fd));
    }
  },
);
