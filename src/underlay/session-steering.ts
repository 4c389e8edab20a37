/**
 * Which of the sockets that share a port gets a datagram of WireGuard: handshakes have the first one for themselves, and data
 * goes to that of the packet path thread which has the session (its receiver index; encapsulation/wireguard/shared-sessions.ts),
 * wherever it comes from.
 *
 * The program is classic BPF (linux/filter.h, Documentation/networking/filter.rst), which sees a datagram from its payload
 * on, and returns the socket's number in the order in which they were bound.
 */
import {
  BPF_A,
  BPF_ABS,
  BPF_ADD,
  BPF_ALU,
  BPF_B,
  BPF_JEQ,
  BPF_JGE,
  BPF_JMP,
  BPF_K,
  BPF_LD,
  BPF_MOD,
  BPF_RET,
  SO_ATTACH_REUSEPORT_CBPF,
} from '../sys/constants.ts';
import { attachProgram, type Instruction } from '../sys/socket-filter.ts';

const DATA = 4;
/** Below: a handshake. */
const FIRST_OTHER = 5;
const TYPE = 0;
/** Of the receiver index, which is little-endian. */
const LOW_BYTE = 4;

const OTHERS: readonly Instruction[] = [
  [BPF_JMP | BPF_JGE | BPF_K, FIRST_OTHER, 0, 1],
  [BPF_RET | BPF_K, 1],
];

/**
 * `fd` is any of the sockets, all of them bound: the one for handshakes, then `workers` more. False where the kernel or a
 * sandbox refuses: then handshakes and data cannot be told apart. `acceptsOthers`: what begins with a byte from 5 on goes to the
 * first worker.
 */
export function steerBySession(fd: number, workers: number, acceptsOthers = false): boolean {
  const program: readonly Instruction[] = [
    [BPF_LD | BPF_B | BPF_ABS, TYPE],
    [BPF_JMP | BPF_JEQ | BPF_K, DATA, acceptsOthers ? 1 + OTHERS.length : 1, 0],
    ...(acceptsOthers ? OTHERS : []),
    [BPF_RET | BPF_K, 0],
    [BPF_LD | BPF_B | BPF_ABS, LOW_BYTE],
    [BPF_ALU | BPF_MOD | BPF_K, workers],
    [BPF_ALU | BPF_ADD | BPF_K, 1],
    [BPF_RET | BPF_A, 0],
  ];
  return attachProgram(fd, SO_ATTACH_REUSEPORT_CBPF, program);
}
