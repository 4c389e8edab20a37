/**
 * A WebAssembly module from text that can be read: one function over an imported memory. It knows the few instructions
 * that this project uses, written as in the text format (one after the other, not folded), so that no code lies
 * in this repository as bytes.
 *
 *     local.get $at  v128.load offset=16      ;; pushes the sixteen bytes at $at + 16
 *
 * The numbers below are those of the WebAssembly Core Specification 2.0, chapter 5 (binary format).
 */

/** Types of values (5.3). */
const TYPES = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const;
export type WasmType = keyof typeof TYPES;

/** What stands behind an instruction: a local, a constant, `offset=N`, a label or a lane, or nothing. */
type Immediate = 'none' | 'local' | 'constant' | 'load' | 'index' | 'block';

/** Opcodes (5.4). Those of vectors, 0xfd, are followed by a number of their own. */
const INSTRUCTIONS: Readonly<Record<string, readonly [opcode: readonly number[], immediate: Immediate]>> = {
  block: [[0x02], 'block'],
  loop: [[0x03], 'block'],
  end: [[0x0b], 'none'],
  br: [[0x0c], 'index'],
  br_if: [[0x0d], 'index'],
  'local.get': [[0x20], 'local'],
  'local.set': [[0x21], 'local'],
  'local.tee': [[0x22], 'local'],
  'i64.load8_u': [[0x31], 'load'],
  'i64.load16_u': [[0x33], 'load'],
  'i64.load32_u': [[0x35], 'load'],
  'i32.const': [[0x41], 'constant'],
  'i64.const': [[0x42], 'constant'],
  'i32.gt_u': [[0x4b], 'none'],
  'i32.add': [[0x6a], 'none'],
  'i32.sub': [[0x6b], 'none'],
  'i32.and': [[0x71], 'none'],
  'i32.or': [[0x72], 'none'],
  'i32.shl': [[0x74], 'none'],
  'i32.shr_u': [[0x76], 'none'],
  'i64.add': [[0x7c], 'none'],
  'i64.and': [[0x83], 'none'],
  'i64.shr_u': [[0x88], 'none'],
  'i32.wrap_i64': [[0xa7], 'none'],
  'v128.load': [[0xfd, 0x00], 'load'],
  'i64x2.extract_lane': [[0xfd, 0x1d], 'index'],
  'i32x4.extadd_pairwise_i16x8_u': [[0xfd, 0x7f], 'none'],
  'i32x4.add': [[0xfd, 0xae, 0x01], 'none'],
  'i64x2.add': [[0xfd, 0xce, 0x01], 'none'],
  'i64x2.extend_low_i32x4_u': [[0xfd, 0xc9, 0x01], 'none'],
  'i64x2.extend_high_i32x4_u': [[0xfd, 0xca, 0x01], 'none'],
};
const NO_RESULT = 0x40;

/** Modules (5.5). */
const MAGIC_AND_VERSION = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const SECTIONS = { type: 1, import: 2, function: 3, export: 7, code: 10 } as const;
const FUNCTION = 0x60;
const KIND_FUNCTION = 0;
const KIND_MEMORY = 2;
/** Limits of a memory: no upper one, at least no page. */
const ANY_SIZE = [0x00, 0];

export interface WasmFunction {
  /** Its name among the exports. */
  readonly name: string;
  /** By name; the order is that of the arguments. */
  readonly parameters: Readonly<Record<string, WasmType>>;
  readonly result: WasmType;
  readonly locals: Readonly<Record<string, WasmType>>;
  /** Without the last `end`. */
  readonly body: string;
}

/**
 * The binary module with that one function, which imports its memory, of any size, as `arena.memory`. Throws on a
 * word that it does not know.
 */
export function assembleWasm(from: WasmFunction): Uint8Array<ArrayBuffer> {
  const parameters = Object.values(from.parameters);
  const locals = Object.values(from.locals);
  const names = [...Object.keys(from.parameters), ...Object.keys(from.locals)];
  const type = [FUNCTION, ...vector(parameters.map(typeOf)), ...vector([typeOf(from.result)])];
  const code = [
    ...vector(locals.map((local) => [1, ...typeOf(local)])),
    ...assemble(from.body, names),
    ...assemble('end', names),
  ];
  return Uint8Array.from([
    ...MAGIC_AND_VERSION,
    ...section(SECTIONS.type, [type]),
    ...section(SECTIONS.import, [[...text('arena'), ...text('memory'), KIND_MEMORY, ...ANY_SIZE]]),
    ...section(SECTIONS.function, [[0]]),
    ...section(SECTIONS.export, [[...text(from.name), KIND_FUNCTION, 0]]),
    ...section(SECTIONS.code, [[...unsigned(code.length), ...code]]),
  ]);
}

function typeOf(type: WasmType): number[] {
  return [TYPES[type]];
}

function assemble(body: string, names: readonly string[]): number[] {
  const words = body
    .replaceAll(/;;.*$/gm, '')
    .split(/\s+/)
    .filter((word) => word !== '');
  const bytes: number[] = [];
  for (let i = 0; i < words.length; i++) {
    const found = INSTRUCTIONS[words[i]!];
    if (found === undefined) throw new Error(`no instruction is called ${words[i]}`);
    const [opcode, immediate] = found;
    bytes.push(...opcode);
    if (immediate === 'block') bytes.push(NO_RESULT);
    else if (immediate !== 'none') bytes.push(...encodeImmediate(immediate, words[++i] ?? '', names));
  }
  return bytes;
}

function encodeImmediate(kind: Immediate, word: string, names: readonly string[]): number[] {
  if (kind === 'local') {
    const index = names.indexOf(word.replace(/^\$/, ''));
    if (index < 0) throw new Error(`no local is called ${word}`);
    return unsigned(index);
  }
  const digits = (kind === 'load' ? /^offset=(\d+)$/ : /^(\d+)$/).exec(word)?.[1];
  if (digits === undefined) throw new Error(`not what the instruction takes: ${word}`);
  if (kind === 'constant') return positive(Number(digits));
  // Before an offset stands the alignment that is promised, as a power of two: none.
  return kind === 'load' ? [0, ...unsigned(Number(digits))] : unsigned(Number(digits));
}

function section(id: number, items: readonly (readonly number[])[]): number[] {
  const content = vector(items);
  return [id, ...unsigned(content.length), ...content];
}

/** How many, then each (5.1.3). */
function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

/** A name: how many bytes, then they. */
function text(name: string): number[] {
  return vector([...name].map((character) => [character.charCodeAt(0)]));
}

/** LEB128 (5.2.2): seven bits a byte, the lowest first; the highest bit says that more follow. */
function unsigned(value: number): number[] {
  return leb128(value, 0x7f);
}

/** The same where a number may be negative: the last byte has a sign bit, here 0. */
function positive(value: number): number[] {
  return leb128(value, 0x3f);
}

function leb128(value: number, mostInLast: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > mostInLast; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return [...bytes, rest];
}
