/** Echo requests and their answers on hosts in memory: whole IP packets, as a kernel makes them of what an agent asks for. */
import type { Echoes } from '../../src/dataplane/path-mtus.ts';
import { addressBytes, addressFromBytes, addressWords, type IpAddress } from '../../src/ip/address.ts';
import {
  ICMP_ECHO_IDENTIFIER,
  ICMP_ECHO_MARK,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  PATH_PROBE_IP_BYTES,
  PATH_PROBE_MARK,
  PATH_PROBE_TOKEN,
  writePathProbe,
} from '../../src/wire/icmp-echo.ts';
import { ipv4Packet, ipv6Packet } from './packets.ts';

interface PathProbe {
  readonly isRequest: boolean;
  readonly identifier: number;
  readonly token: bigint;
  readonly from: Int32Array;
}

/** What the packet is, if it is an echo that measures a path. */
export function pathProbe(packet: Uint8Array): PathProbe | undefined {
  const family = familyOf(packet);
  const icmp = PATH_PROBE_IP_BYTES[family];
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  if (view.getUint8(family === 4 ? 9 : 6) !== (family === 4 ? 1 : 58)) return undefined;
  const type = view.getUint8(icmp);
  if (type !== ICMP_ECHO_REQUEST[family] && type !== ICMP_ECHO_REPLY[family]) return undefined;
  if (view.getUint32(icmp + ICMP_ECHO_MARK) !== PATH_PROBE_MARK) return undefined;
  return {
    isRequest: type === ICMP_ECHO_REQUEST[family],
    identifier: view.getUint16(icmp + ICMP_ECHO_IDENTIFIER),
    token: view.getBigUint64(icmp + PATH_PROBE_TOKEN),
    from: addressWords(addressFromBytes(family === 4 ? packet.subarray(12, 16) : packet.subarray(8, 24))),
  };
}

/** The kernel's answer to a request: as long, and it may be fragmented. */
export function answerTo(request: Uint8Array): Uint8Array {
  const family = familyOf(request);
  const answer = Uint8Array.from(request);
  const [source, bytes] = family === 4 ? [12, 4] : [8, 16];
  answer.set(request.subarray(source + bytes, source + 2 * bytes), source);
  answer.set(request.subarray(source, source + bytes), source + bytes);
  answer[PATH_PROBE_IP_BYTES[family]] = ICMP_ECHO_REPLY[family];
  if (family === 4) answer[6] = 0;
  return answer;
}

export class MemoryEchoes implements Echoes {
  readonly #identifier: number;
  readonly #send: (to: IpAddress, packet: (source: IpAddress) => Uint8Array) => boolean;
  /** Bounded by what a test sends. */
  readonly #received: { readonly probe: PathProbe; readonly bytes: number }[] = [];

  constructor(
    identifier: number,
    send: (to: IpAddress, packet: (source: IpAddress) => Uint8Array) => boolean,
  ) {
    this.#identifier = identifier;
    this.#send = send;
  }

  /** A packet has come to this host. */
  take(packet: Uint8Array): void {
    const probe = pathProbe(packet)!;
    if (!probe.isRequest && probe.identifier !== this.#identifier) return;
    this.#received.push({ probe, bytes: packet.length });
  }

  send(to: Int32Array, bytes: number, token: bigint): boolean {
    const words = new DataView(new ArrayBuffer(4 * to.length));
    for (const [i, word] of to.entries()) words.setInt32(4 * i, word);
    const target = addressFromBytes(new Uint8Array(words.buffer));
    return this.#send(target, (source) => {
      const isV4 = target.family === 4;
      const packet = isV4 ? ipv4Packet(ANY[4], ANY[4], { bytes }) : ipv6Packet(ANY[6], ANY[6], { bytes });
      const [at, length] = isV4 ? [12, 4] : [8, 16];
      packet.set(addressBytes(source), at);
      packet.set(addressBytes(target), at + length);
      packet[isV4 ? 9 : 6] = isV4 ? 1 : 58;
      const icmp = PATH_PROBE_IP_BYTES[target.family];
      const view = new DataView(packet.buffer);
      writePathProbe(view, icmp, target.family, bytes - icmp, this.#identifier, token);
      return packet;
    });
  }

  receive(onAnswer: (token: bigint, bytes: number) => void, onProbe: (from: Int32Array) => void): void {
    for (const { probe, bytes } of this.#received.splice(0)) {
      if (probe.isRequest) onProbe(probe.from);
      else onAnswer(probe.token, bytes);
    }
  }

  close(): void {}
}

const ANY = { 4: '10.0.0.0', 6: 'fd00::' } as const;

function familyOf(packet: Uint8Array): 4 | 6 {
  return packet[0]! >> 4 === 4 ? 4 : 6;
}
