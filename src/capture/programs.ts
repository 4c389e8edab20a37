/**
 * Which packets the kernel copies at all, as classic BPF (linux/filter.h): what a filter surely does not take costs nothing more
 * than this. PacketFilter looks at the rest; it alone decides.
 */
import { addressWords } from '../ip/address.ts';
import { parsePrefix } from '../ip/prefix.ts';
import { byteAt, halfAt, REFUSE, unlessIpv4 } from '../sys/bpf.ts';
import {
  BPF_ABS,
  BPF_ALU,
  BPF_AND,
  BPF_B,
  BPF_H,
  BPF_IND,
  BPF_JEQ,
  BPF_JMP,
  BPF_JSET,
  BPF_K,
  BPF_LD,
  BPF_LDX,
  BPF_MSH,
  BPF_RET,
  BPF_W,
  SKF_NET_OFF,
} from '../sys/constants.ts';
import type { Instruction } from '../sys/socket-filter.ts';
import { IPV4_FRAGMENT, IPV4_FRAGMENT_OFFSET_MASK, IPV4_PROTOCOL } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_NEXT_HEADER } from '../wire/ipv6.ts';
import { PROTOCOL_TCP } from '../wire/tcp.ts';
import { PROTOCOL_UDP } from '../wire/udp.ts';
import type { CaptureFilter } from './filter.ts';
import { maskOf } from './filter.ts';

/** How far a conditional jump reaches. */
const MAX_JUMP = 255;
const MAX_PORTS = 16;
const ADDRESSES_AT = [12, 16] as const;
/** Whole packets. */
const WHOLE_BYTES = 0x4_0000;

type Load = (offset: number) => Instruction;
const ports4: Load = (offset) => [BPF_LD | BPF_H | BPF_IND, SKF_NET_OFF + offset];
const ports6: Load = (offset) => halfAt(IPV6_HEADER_BYTES + offset);

/** A load, and what of it is to be equal to what. */
interface Test {
  readonly load: readonly Instruction[];
  readonly equals: readonly number[];
}

/** What the TUN device sees of inner packets; of each so many bytes. */
export function innerProgram(filter: CaptureFilter, snapBytes: number): readonly Instruction[] {
  const accept: Instruction = [BPF_RET | BPF_K, snapBytes];
  const v4 = [
    anyOf(addressTests(filter.pods)),
    anyOf(addressTests(filter.peerSubnets)),
    anyOf(protocolTests(filter, IPV4_PROTOCOL)),
    filter.ports.length === 0
      ? []
      : [...withoutFragments(), ...(anyOf(portTests(filter.ports, ports4)) ?? [])],
  ];
  // Addresses of IPv6 are left to PacketFilter.
  const v6 = [anyOf(protocolTests(filter, IPV6_NEXT_HEADER)), anyOf(portTests(filter.ports, ports6))];
  if ([...v4, ...v6].includes(undefined) || filter.ports.length > MAX_PORTS) return [accept];
  const first = [...v4.flatMap((some) => some ?? []), accept];
  return [...unlessIpv4(first.length), ...first, ...v6.flatMap((some) => some ?? []), accept];
}

/**
 * UDP to or from one of `ports`, 16 at most, whole; fragments but the first have no ports and are left out. Of IPv4 to or from one of
 * `ends`, if there are some.
 */
export function tunnelProgram(
  ports: readonly number[],
  ends: readonly string[] = [],
): readonly Instruction[] {
  const some = ports.slice(0, MAX_PORTS);
  const accept: Instruction = [BPF_RET | BPF_K, WHOLE_BYTES];
  const udp = (at: number) => anyOf([{ load: [byteAt(at)], equals: [PROTOCOL_UDP] }]) ?? [];
  const v4 = [
    ...udp(IPV4_PROTOCOL),
    ...(anyOf(addressTests(ends)) ?? []),
    ...withoutFragments(),
    ...(anyOf(portTests(some, ports4)) ?? []),
    accept,
  ];
  return [
    ...unlessIpv4(v4.length),
    ...v4,
    // Whatever else is no IPv6 does not have UDP there.
    ...udp(IPV6_NEXT_HEADER),
    ...(anyOf(portTests(some, ports6)) ?? []),
    accept,
  ];
}

/** Refuses later fragments, and finds where ports are. */
function withoutFragments(): readonly Instruction[] {
  return [
    halfAt(IPV4_FRAGMENT),
    [BPF_JMP | BPF_JSET | BPF_K, IPV4_FRAGMENT_OFFSET_MASK, 0, 1],
    REFUSE,
    [BPF_LDX | BPF_B | BPF_MSH, SKF_NET_OFF],
  ];
}

/** Goes on if one of `tests` holds, or there are none, else refuses. Undefined: there are too many. */
function anyOf(tests: readonly Test[]): Instruction[] | undefined {
  if (tests.length === 0) return [];
  const length = tests.reduce((sum, { load, equals }) => sum + load.length + equals.length, 0);
  if (length > MAX_JUMP) return undefined;
  const program: Instruction[] = [];
  for (const { load, equals } of tests) {
    program.push(...load);
    // Over what is left and the refusal.
    for (const value of equals) program.push([BPF_JMP | BPF_JEQ | BPF_K, value, length - program.length, 0]);
  }
  return [...program, REFUSE];
}

/** If there are some, and all are of IPv6, nothing of IPv4 passes: one test that never holds. */
function addressTests(prefixes: readonly string[]): Test[] {
  return prefixes.map(parsePrefix).flatMap((prefix): Test[] => {
    if (prefix.family === 6) return [{ load: [], equals: [] }];
    const [word] = addressWords(prefix);
    const mask = maskOf(prefix.length);
    return ADDRESSES_AT.map((at) => ({
      load: [
        [BPF_LD | BPF_W | BPF_ABS, SKF_NET_OFF + at],
        [BPF_ALU | BPF_AND | BPF_K, mask],
      ],
      equals: [word!],
    }));
  });
}

/** Only TCP and UDP have ports. */
function protocolTests({ protocols, ports }: CaptureFilter, at: number): Test[] {
  const possible = ports.length === 0 ? protocols : [PROTOCOL_TCP, PROTOCOL_UDP];
  const wanted = possible.filter((one) => protocols.length === 0 || protocols.includes(one));
  if (wanted.length > 0) return [{ load: [byteAt(at)], equals: wanted }];
  return protocols.length + ports.length === 0 ? [] : [{ load: [], equals: [] }];
}

function portTests(ports: readonly number[], load: Load): Test[] {
  return ports.length === 0 ? [] : [0, 2].map((offset) => ({ load: [load(offset)], equals: ports }));
}
