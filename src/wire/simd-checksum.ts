/**
 * The Internet checksum's sum over payloads in WebAssembly SIMD: sixteen bytes an instruction. The module is assembled
 * from the text below, once per thread.
 *
 * As in bulk-checksum.ts, words of 32 bits do for words of 16, and the sum is taken in the machine's own byte order
 * (WebAssembly's is little-endian). Loads need no alignment. A lane of 32 bits adds two halves a step and stays
 * exact for 32,768 steps; a payload takes at most 4,096.
 */
import type { PayloadChecksum } from './payload-checksum.ts';
import { assembleWasm, type WasmFunction } from './wasm-assembler.ts';

const SUM: WasmFunction = {
  name: 'sum',
  parameters: { at: 'i32', bytes: 'i32' },
  result: 'i32',
  locals: { end: 'i32', a: 'v128', b: 'v128', c: 'v128', d: 'v128', total: 'i64' },
  body: `
    local.get $at  local.get $bytes  i32.add  local.set $end
    ;; 64 bytes a step, while so many are left.
    block
      loop
        local.get $at  i32.const 64  i32.add  local.get $end  i32.gt_u  br_if 1
        local.get $at  v128.load offset=0   i32x4.extadd_pairwise_i16x8_u  local.get $a  i32x4.add  local.set $a
        local.get $at  v128.load offset=16  i32x4.extadd_pairwise_i16x8_u  local.get $b  i32x4.add  local.set $b
        local.get $at  v128.load offset=32  i32x4.extadd_pairwise_i16x8_u  local.get $c  i32x4.add  local.set $c
        local.get $at  v128.load offset=48  i32x4.extadd_pairwise_i16x8_u  local.get $d  i32x4.add  local.set $d
        local.get $at  i32.const 64  i32.add  local.set $at
        br 0
      end
    end
    ;; 16 bytes a step.
    block
      loop
        local.get $at  i32.const 16  i32.add  local.get $end  i32.gt_u  br_if 1
        local.get $at  v128.load offset=0   i32x4.extadd_pairwise_i16x8_u  local.get $a  i32x4.add  local.set $a
        local.get $at  i32.const 16  i32.add  local.set $at
        br 0
      end
    end
    ;; Sixteen lanes become four, then two of 64 bits, then one.
    local.get $a  local.get $b  i32x4.add
    local.get $c  local.get $d  i32x4.add   i32x4.add  local.tee $a
    i64x2.extend_low_i32x4_u  local.get $a  i64x2.extend_high_i32x4_u  i64x2.add  local.tee $a
    i64x2.extract_lane 0  local.get $a  i64x2.extract_lane 1  i64.add  local.set $total
    ;; 4 bytes a step.
    block
      loop
        local.get $at  i32.const 4  i32.add  local.get $end  i32.gt_u  br_if 1
        local.get $at  i64.load32_u offset=0  local.get $total  i64.add  local.set $total
        local.get $at  i32.const 4  i32.add  local.set $at
        br 0
      end
    end
    ;; 2 bytes.
    block
      local.get $at  i32.const 2  i32.add  local.get $end  i32.gt_u  br_if 0
      local.get $at  i64.load16_u offset=0  local.get $total  i64.add  local.set $total
      local.get $at  i32.const 2  i32.add  local.set $at
    end
    ;; An odd last byte, padded with zero.
    block
      local.get $at  i32.const 1  i32.add  local.get $end  i32.gt_u  br_if 0
      local.get $at  i64.load8_u offset=0  local.get $total  i64.add  local.set $total
    end
    ;; Folded from 64 bits to 33, then to 18, 17 and 16.
    local.get $total  i64.const 4294967295  i64.and  local.get $total  i64.const 32  i64.shr_u  i64.add  local.set $total
    local.get $total  i64.const 65535  i64.and  local.get $total  i64.const 16  i64.shr_u  i64.add  local.set $total
    local.get $total  i64.const 65535  i64.and  local.get $total  i64.const 16  i64.shr_u  i64.add  local.set $total
    local.get $total  i64.const 65535  i64.and  local.get $total  i64.const 16  i64.shr_u  i64.add
    i32.wrap_i64  local.tee $end
    ;; To network byte order.
    i32.const 8  i32.shl  i32.const 65280  i32.and
    local.get $end  i32.const 8  i32.shr_u  i32.or
  `,
};

const BYTES = assembleWasm(SUM);
let compiled: WebAssembly.Module | undefined;

/** Sums over `memory`; undefined where this machine or its settings have no WebAssembly SIMD. */
export function simdChecksum(memory: WebAssembly.Memory): PayloadChecksum | undefined {
  if (!WebAssembly.validate(BYTES)) return undefined;
  compiled ??= new WebAssembly.Module(BYTES);
  const { exports } = new WebAssembly.Instance(compiled, { arena: { memory } });
  return exports as unknown as PayloadChecksum;
}
