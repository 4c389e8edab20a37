import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Arena } from '../../../src/sys/arena.ts';
import { read } from '../../../src/sys/libc.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each(['plain', 'wasm'] as const)('an arena of kind %s', (kind) => {
  test('is at the address that the kernel writes to', () => {
    const folder = mkdtempSync(join(tmpdir(), 'warren-test-'));
    const file = join(folder, 'bytes');
    writeFileSync(file, 'from the kernel');
    const fd = openSync(file, 'r');
    try {
      const arena = new Arena(5 << 20, kind);
      const offset = arena.bytes.length - 15;
      expect(read(fd, arena.address(offset), 15)).toBe(15);
      expect(Buffer.from(arena.bytes.subarray(offset)).toString()).toBe('from the kernel');
      expect(arena.bytes.subarray(0, offset).every((byte) => byte === 0)).toBe(true);
    } finally {
      closeSync(fd);
      rmSync(folder, { recursive: true });
    }
  });

  test('has as many bytes as were asked for, and pointers to them', () => {
    const arena = new Arena(70_001, kind);
    expect(arena.bytes.length).toBe(70_001);
    arena.setPointer(8, 70_000);
    expect(Number(arena.view.getBigUint64(8, true))).toBe(arena.address(70_000));
  });
});

test('WebAssembly can work on an arena of its kind alone', () => {
  const arena = new Arena(100, 'wasm');
  expect(arena.memory?.buffer).toBe(arena.buffer);
  expect(arena.summable).toBe(arena.memory);
  expect(new Arena(100).memory).toBeUndefined();
});

test('is plain where a WebAssembly memory cannot be had', () => {
  vi.spyOn(WebAssembly, 'Memory').mockImplementation(function refuse() {
    throw new RangeError('could not allocate memory');
  });
  const arena = new Arena(100, 'wasm');
  expect(arena.memory).toBeUndefined();
  expect(arena.summable).toBe(arena.buffer);
});
