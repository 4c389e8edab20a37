import fc from 'fast-check';
import { expect, it } from 'vitest';
import { eventsOf, type StreamEvent } from '../../../src/api/event-stream.ts';

async function parse(chunks: readonly Uint8Array[], maxBytes = 1e6): Promise<StreamEvent[]> {
  const source = async function* () {
    yield* chunks;
  };
  const events: StreamEvent[] = [];
  for await (const event of eventsOf(source(), maxBytes)) events.push(event);
  return events;
}

const sample =
  ':\n\nid: 7\nevent: peers\ndata: [{"name":"knoten-ü"}]\n\nretry: 10\n\ndata:x\n\nid: 8\nevent: cut';

it('finds events, however the bytes come', async () => {
  const bytes = Buffer.from(sample);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 20 }), async (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
      expect(await parse(chunks)).toEqual([
        { id: '7', event: 'peers', data: '[{"name":"knoten-ü"}]' },
        { id: '', event: 'message', data: 'x' },
      ]);
    }),
  );
});

it('takes no line without end', async () => {
  const endless = Array.from({ length: 20 }, () => Buffer.from('x'.repeat(100)));
  await expect(parse(endless, 1000)).rejects.toThrow('too long');
  const many = Array.from({ length: 20 }, () => Buffer.from(`data: ${'x'.repeat(100)}\n\n`));
  expect(await parse(many, 1000)).toHaveLength(20);
});

it('survives any bytes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 50 })), async (chunks) => {
      for (const event of await parse(chunks)) expect(Object.keys(event)).toEqual(['id', 'event', 'data']);
    }),
  );
});
