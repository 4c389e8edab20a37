/** Instructions of classic BPF (linux/filter.h) that filters of packets have in common. Offsets are of the network header. */
import {
  BPF_ABS,
  BPF_B,
  BPF_H,
  BPF_JA,
  BPF_JEQ,
  BPF_JMP,
  BPF_K,
  BPF_LD,
  BPF_RET,
  BPF_W,
  ETH_P_IP,
  SKF_AD_OFF,
  SKF_AD_PROTOCOL,
  SKF_NET_OFF,
} from './constants.ts';
import type { Instruction } from './socket-filter.ts';

export const REFUSE: Instruction = [BPF_RET | BPF_K, 0];

/** Jumps over so many instructions if the packet is of something else. */
export function unlessIpv4(length: number): readonly Instruction[] {
  return [
    [BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_PROTOCOL],
    [BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 1, 0],
    [BPF_JMP | BPF_JA, length],
  ];
}

export function byteAt(at: number): Instruction {
  return [BPF_LD | BPF_B | BPF_ABS, SKF_NET_OFF + at];
}

export function halfAt(at: number): Instruction {
  return [BPF_LD | BPF_H | BPF_ABS, SKF_NET_OFF + at];
}
