/**
 * What the kernel copies for a trace at all, as classic BPF (linux/filter.h): little enough that a node with heavy traffic does
 * not notice. FlowMatch and matchOuter look at the rest; they alone decide.
 */
import { addressWords, parseAddress } from '../ip/address.ts';
import { byteAt, halfAt, REFUSE, unlessIpv4 } from '../sys/bpf.ts';
import {
  BPF_ABS,
  BPF_B,
  BPF_H,
  BPF_IND,
  BPF_JEQ,
  BPF_JMP,
  BPF_K,
  BPF_LD,
  BPF_LDX,
  BPF_MSH,
  BPF_RET,
  BPF_W,
  SKF_NET_OFF,
} from '../sys/constants.ts';
import type { Instruction } from '../sys/socket-filter.ts';
import { IPV4_PROTOCOL, IPV4_TOTAL_LENGTH, PROTOCOL_ICMP } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_NEXT_HEADER, IPV6_PAYLOAD_LENGTH, PROTOCOL_ICMPV6 } from '../wire/ipv6.ts';
import { PROTOCOL_UDP } from '../wire/udp.ts';
import { protocolNumber } from './flow-match.ts';
import type { Flow } from './model.ts';
import { outerLengths, type Tunnel } from './outer-match.ts';

/** Of each packet: headers, and what an ICMP error quotes. */
const SNAP_BYTES = 256;
const ACCEPT: Instruction = [BPF_RET | BPF_K, SNAP_BYTES];

/** ICMP, and TCP or UDP from or to the port that marks the flow, or that it goes to. */
export function flowProgram(flow: Flow): readonly Instruction[] {
  const port = flow.mark === 0 ? flow.port : flow.mark;
  const number = protocolNumber(flow);
  if (flow.protocol === 'icmp')
    return [
      ...byVersion([...unless(IPV4_PROTOCOL, [PROTOCOL_ICMP]), ACCEPT]),
      ...unless(IPV6_NEXT_HEADER, [PROTOCOL_ICMPV6]),
      ACCEPT,
    ];
  const v4: readonly Instruction[] = [
    byteAt(IPV4_PROTOCOL),
    equal(PROTOCOL_ICMP, 6, 0),
    equal(number, 0, 4),
    [BPF_LDX | BPF_B | BPF_MSH, SKF_NET_OFF],
    [BPF_LD | BPF_H | BPF_IND, SKF_NET_OFF],
    equal(port, 3, 0),
    [BPF_LD | BPF_H | BPF_IND, SKF_NET_OFF + 2],
    equal(port, 1, 0),
    REFUSE,
    ACCEPT,
  ];
  const v6: readonly Instruction[] = [
    byteAt(IPV6_NEXT_HEADER),
    equal(PROTOCOL_ICMPV6, 6, 0),
    equal(number, 0, 4),
    halfAt(IPV6_HEADER_BYTES),
    equal(port, 3, 0),
    halfAt(IPV6_HEADER_BYTES + 2),
    equal(port, 1, 0),
    REFUSE,
    ACCEPT,
  ];
  return [...byVersion(fixed(v4)), ...fixed(v6)];
}

/** UDP from or to the other node's address, as long as the datagram must be. */
export function outerProgram(flow: Flow, tunnel: Tunnel): readonly Instruction[] {
  const address = parseAddress(tunnel.address);
  const words = addressWords(address);
  const isV4 = address.family === 4;
  const last = words.at(-1)! >>> 0;
  // The last word of IPv6 addresses tells enough of them.
  const ends = isV4 ? [12, 16] : [20, 36];
  const lengths = outerLengths(flow, tunnel).map((bytes) => (isV4 ? bytes : bytes - IPV6_HEADER_BYTES));
  const program = [
    ...unless(isV4 ? IPV4_PROTOCOL : IPV6_NEXT_HEADER, [PROTOCOL_UDP]),
    [BPF_LD | BPF_W | BPF_ABS, SKF_NET_OFF + ends[0]!],
    equal(last, 3, 0),
    [BPF_LD | BPF_W | BPF_ABS, SKF_NET_OFF + ends[1]!],
    equal(last, 1, 0),
    REFUSE,
    ...(lengths.length === 0
      ? []
      : [
          halfAt(isV4 ? IPV4_TOTAL_LENGTH : IPV6_PAYLOAD_LENGTH),
          ...lengths.map((length, i) => equal(length, lengths.length - i, 0)),
          REFUSE,
        ]),
    ACCEPT,
  ] as const satisfies readonly Instruction[];
  return isV4 ? [...byVersion(program), REFUSE] : [...byVersion([REFUSE]), ...program];
}

/** `v4` for IPv4; what follows is for all else. */
function byVersion(v4: readonly Instruction[]): readonly Instruction[] {
  return [...unlessIpv4(v4.length), ...v4];
}

function unless(at: number, values: readonly number[]): readonly Instruction[] {
  return [byteAt(at), ...values.map((value, i) => equal(value, values.length - i, 0)), REFUSE];
}

/** Jumps that were written to the last two instructions, refusal and acceptance, by where these are. */
function fixed(program: readonly Instruction[]): readonly Instruction[] {
  const [refuse, accept] = [program.length - 2, program.length - 1];
  return program.map((instruction, i): Instruction => {
    const [code, value, yes] = instruction;
    if (code !== (BPF_JMP | BPF_JEQ | BPF_K)) return instruction;
    // The protocol's own test goes on where it holds; all others accept where they hold.
    return yes === 0 ? [code, value!, 0, refuse - i - 1] : [code, value!, accept - i - 1, 0];
  });
}

function equal(value: number, yes: number, no: number): Instruction {
  return [BPF_JMP | BPF_JEQ | BPF_K, value, yes, no];
}
