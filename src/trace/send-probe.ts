/** Sends a trace's packet from within a pod, or from the node, as a program there would: by its routes, and through its rules. */
import { closeSync } from 'node:fs';
import { openNetns, ThreadNamespace } from '../host/attachment/thread-namespace.ts';
import { addressWords, parseAddress } from '../ip/address.ts';
import { Arena } from '../sys/arena.ts';
import { checked } from '../sys/calls.ts';
import {
  AF_INET,
  AF_INET6,
  IPPROTO_RAW,
  MSG_DONTWAIT,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
} from '../sys/constants.ts';
import { errnoName } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';
import { writeSockaddr } from '../sys/sockaddr.ts';
import type { Flow } from './model.ts';
import { probePacket } from './probe-packet.ts';

const PACKET = 64;

/**
 * `netns`: path of the pod's namespace; undefined: the node's own. Gives the name of the errno with which the kernel refused it, or
 * null. Throws a SysError, POD_NETNS_MISSING.
 */
export function sendProbe(flow: Flow, netns: string | undefined): string | null {
  const inner = netns === undefined ? undefined : openNetns(netns);
  try {
    const fd =
      inner === undefined ? rawSocket(flow) : new ThreadNamespace().inside(inner, () => rawSocket(flow));
    try {
      return send(fd, flow);
    } finally {
      libc.close(fd);
    }
  } finally {
    if (inner !== undefined) closeSync(inner);
  }
}

/** A socket stays in the namespace that it was opened in. */
function rawSocket({ family }: Flow): number {
  const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  return checked(libc.socket(family === 4 ? AF_INET : AF_INET6, type, IPPROTO_RAW), {
    call: 'socket(SOCK_RAW)',
    doing: 'opening the socket of a trace',
    hints: { EPERM: 'it takes CAP_NET_RAW' },
  });
}

function send(fd: number, flow: Flow): string | null {
  const packet = probePacket(flow, Math.floor(Math.random() * 0x1_0000_0000));
  const arena = new Arena(PACKET + packet.length);
  const words = (text: string) => addressWords(parseAddress(text));
  // As for any program: an address that is not there cannot be sent from.
  const boundBytes = writeSockaddr(arena.view, 0, words(flow.source), 0);
  if (libc.bind(fd, arena.base, boundBytes) < 0) return errnoName(libc.errno());
  const toBytes = writeSockaddr(arena.view, 0, words(flow.destination), 0);
  arena.bytes.set(packet, PACKET);
  const sent = libc.sendto(fd, arena.address(PACKET), packet.length, MSG_DONTWAIT, arena.base, toBytes);
  return sent < 0 ? errnoName(libc.errno()) : null;
}
