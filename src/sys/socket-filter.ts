/** Classic BPF on a socket (linux/filter.h, Documentation/networking/filter.rst). It takes no privilege. */
import { Arena } from './arena.ts';
import { SOL_SOCKET } from './constants.ts';
import * as libc from './libc.ts';
import { SOCK_FILTER, SOCK_FPROG } from './structs.ts';

/** `ifTrue` and `ifFalse`: how many instructions a jump leaves out. */
export type Instruction = readonly [code: number, operand: number, ifTrue?: number, ifFalse?: number];

/** `option`: SO_ATTACH_FILTER, or another one of SOL_SOCKET that takes a program. False where it is refused. */
export function attachProgram(fd: number, option: number, program: readonly Instruction[]): boolean {
  const arena = new Arena(SOCK_FPROG.bytes + program.length * SOCK_FILTER.bytes);
  const { view } = arena;
  view.setUint16(SOCK_FPROG.length, program.length, true);
  arena.setPointer(SOCK_FPROG.filter, SOCK_FPROG.bytes);
  for (const [i, [code, operand, ifTrue = 0, ifFalse = 0]] of program.entries()) {
    const at = SOCK_FPROG.bytes + i * SOCK_FILTER.bytes;
    view.setUint16(at + SOCK_FILTER.code, code, true);
    view.setUint8(at + SOCK_FILTER.ifTrue, ifTrue);
    view.setUint8(at + SOCK_FILTER.ifFalse, ifFalse);
    view.setInt32(at + SOCK_FILTER.operand, operand | 0, true);
  }
  return libc.setsockopt(fd, SOL_SOCKET, option, arena.base, SOCK_FPROG.bytes) === 0;
}
