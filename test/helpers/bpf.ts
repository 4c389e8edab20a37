/** An interpreter of the few instructions of classic BPF that our programs have. */
import { SKF_AD_OFF, SKF_NET_OFF } from '../../src/sys/constants.ts';
import type { Instruction } from '../../src/sys/socket-filter.ts';

/** What a program of classic BPF says of an IP packet: how many bytes are kept. A load beyond the packet ends with 0. */
export function runProgram(program: readonly Instruction[], packet: Uint8Array): number {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  let [a, x, at] = [0, 0, 0];
  const load = (size: number, offset: number): number | undefined => {
    if (offset < 0 || offset + size > packet.length) return undefined;
    return size === 1 ? view.getUint8(offset) : size === 2 ? view.getUint16(offset) : view.getInt32(offset);
  };
  for (let steps = 0; steps < 5000; steps++) {
    const instruction = program[at++];
    if (!instruction) throw new Error('it runs off its end');
    const [code, k, ifTrue = 0, ifFalse = 0] = instruction;
    const size = (code & 0x18) === 0x10 ? 1 : (code & 0x18) === 0x08 ? 2 : 4;
    const offset = k - SKF_NET_OFF;
    switch (code & 0x07) {
      case 0x00: {
        if (k === SKF_AD_OFF) {
          a = packet[0]! >> 4 === 4 ? 0x0800 : 0x86dd;
          break;
        }
        const value = load(size, (code & 0xe0) === 0x40 ? offset + x : offset);
        if (value === undefined) return 0;
        a = value;
        break;
      }
      case 0x01:
        x = 4 * (packet[offset]! & 15);
        break;
      case 0x04:
        a &= k;
        break;
      case 0x05:
        if ((code & 0xf0) === 0) at += k;
        else if ((code & 0xf0) === 0x10) at += (a | 0) === (k | 0) ? ifTrue : ifFalse;
        else at += (a & k) !== 0 ? ifTrue : ifFalse;
        break;
      case 0x06:
        return k;
      default:
        throw new Error(`unknown instruction ${code}`);
    }
  }
  throw new Error('it does not end');
}
