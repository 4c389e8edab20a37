import { expect, test } from 'vitest';
import { assembleWasm, type WasmFunction } from '../../../src/wire/wasm-assembler.ts';

const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });

function functionOf(body: string): WasmFunction {
  return { name: 'f', parameters: { x: 'i32', y: 'i32' }, result: 'i32', locals: { z: 'i64' }, body };
}

function run(body: string, x: number, y: number): number {
  const module = new WebAssembly.Module(assembleWasm(functionOf(body)));
  const { f } = new WebAssembly.Instance(module, { arena: { memory } }).exports;
  return (f as (x: number, y: number) => number)(x, y);
}

/** By hand from the specification: header, types, import, function, export, code. */
const GOLDEN =
  '0061736d01000000 0107 01 60027f7f 017f 0211 01 056172656e61 066d656d6f7279 02 0000 03020100' +
  '0705 01 0166 0000 0a0b 01 09 01017e 2000 2001 6a 0b';

test('writes the bytes that the specification asks for', () => {
  const bytes = assembleWasm(functionOf('local.get $x local.get $y i32.add'));
  expect(Buffer.from(bytes).toString('hex')).toBe(GOLDEN.replaceAll(' ', ''));
});

test('makes modules that compute', () => {
  expect(run('local.get $x local.get $y i32.sub ;; and no more', 7, 9)).toBe(-2);
  expect(run('local.get $x local.get $y local.set $x local.get $x i32.and', 0b1100, 0b1010)).toBe(0b1000);
});

test.each([0, 1, 63, 64, 127, 128, 8191, 8192, 65_535, 2 ** 31 - 1])('encodes the constant %d', (value) => {
  expect(run(`i32.const ${value}`, 0, 0)).toBe(value);
});

test.each([8, 127, 128, 65_528])('loads at the offset %d', (offset) => {
  new DataView(memory.buffer).setUint32(offset, offset + 5, true);
  const load = `local.get $x i64.load32_u offset=${offset} local.tee $z i32.wrap_i64`;
  expect(run(load, 0, 0)).toBe(offset + 5);
});

test.each([
  ['i32.divide', /no instruction is called i32\.divide/],
  ['local.get $w', /no local is called \$w/],
  ['i32.const -1', /not what the instruction takes: -1/],
  ['local.get $x v128.load', /not what the instruction takes/],
])('refuses %s', (body, reason) => {
  expect(() => assembleWasm(functionOf(body))).toThrow(reason);
});
