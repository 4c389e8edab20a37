import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonLines } from '../../../src/kubernetes/json-lines.ts';

describe('JSON lines', () => {
  it('come out as they went in, wherever chunks end, within characters too', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), fc.array(fc.nat(40)), (values, cuts) => {
        const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join('\n'));
        const seen: unknown[] = [];
        const lines = new JsonLines(1e6, (value) => seen.push(value));
        let at = 0;
        // The buffer may be another's right after.
        for (const cut of cuts) {
          const chunk = Buffer.from(bytes.subarray(at, at + cut));
          lines.push(chunk);
          chunk.fill(0x20);
          at += cut;
        }
        lines.push(bytes.subarray(at));
        expect(seen).toEqual(values.map((value) => JSON.parse(JSON.stringify(value))));
      }),
    );
  });

  it('are bounded, and JSON', () => {
    const lines = new JsonLines(10, () => {});
    lines.push(Buffer.from('"12345678"\n"1234'));
    lines.push(Buffer.from('5678"'));
    expect(() => lines.push(Buffer.from(' '))).toThrow('a line is longer than 10 bytes');
    expect(() => new JsonLines(10, () => {}).push(Buffer.from('{]\n'))).toThrow('a line is no JSON');
  });
});
