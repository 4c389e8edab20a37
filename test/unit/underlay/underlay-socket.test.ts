import { afterEach, describe, expect, it } from 'vitest';
import { addressWords, parseAddress } from '../../../src/ip/address.ts';
import { Arena } from '../../../src/sys/arena.ts';
import { getIntOption } from '../../../src/sys/calls.ts';
import { SO_RCVBUF, SO_SNDBUF, SOL_SOCKET } from '../../../src/sys/constants.ts';
import {
  closeUnderlaySockets,
  openUnderlaySockets,
  type UnderlaySocketOptions,
  type UnderlaySockets,
} from '../../../src/underlay/underlay-socket.ts';

const opened: UnderlaySockets[] = [];
afterEach(() => {
  for (const { descriptors } of opened.splice(0)) closeUnderlaySockets(descriptors);
});

function open(options: Partial<UnderlaySocketOptions>): UnderlaySockets {
  const sockets = openUnderlaySockets({
    words: addressWords(parseAddress('127.0.0.1')),
    port: 0,
    displayName: '127.0.0.1',
    count: 2,
    wanted: { udpSegment: true, udpGro: false },
    ...options,
  });
  opened.push(sockets);
  return sockets;
}

const bufferBytes = ({ descriptors }: UnderlaySockets, option: number) =>
  descriptors.map((fd) =>
    getIntOption(fd, SOL_SOCKET, option, new Arena(8), { call: 'getsockopt', doing: 'reading a buffer' }),
  );

describe('sockets that are only sent from', () => {
  it('hold next to nothing of what strangers send them, and as much to send as any', () => {
    const both = open({});
    const senders = open({ sendsOnly: true });
    for (const bytes of bufferBytes(senders, SO_RCVBUF)) expect(bytes).toBeLessThan(8192);
    expect(bufferBytes(senders, SO_SNDBUF)).toEqual(bufferBytes(both, SO_SNDBUF));
    expect(Math.min(...bufferBytes(both, SO_RCVBUF))).toBeGreaterThan(100_000);
  });

  it('are asked themselves whether they can segment', () => {
    expect(open({ sendsOnly: true }).offloads).toEqual({ udpSegment: true, udpGro: false });
  });
});
