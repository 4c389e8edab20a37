/** What a node does for whoever traces: bounded, for its own addresses, and over when nobody asks any more. */
import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import type { NodeQuestion } from '../../../src/trace/messages.ts';
import type { NodeObservation } from '../../../src/trace/model.ts';
import { NodeTraces } from '../../../src/trace/node-traces.ts';
import { Traces } from '../../../src/trace/traces.ts';
import { FLOW, observed } from './observed.ts';

let clock: VirtualClock;
let closed: number;
let traces: NodeTraces;

beforeEach(() => {
  clock = new VirtualClock();
  closed = 0;
  traces = new NodeTraces({
    clock,
    isOwn: (address) => address.startsWith('10.42.1.'),
    sourceOf: async ({ flow }) => flow.source,
    begin: async () => ({
      send: () => {},
      look: () => ({ hasSeen: false, hasArrived: false, isAnswered: false, isLost: false }),
      end: async () => observed().source as NodeObservation,
      close: async () => {
        closed++;
      },
    }),
  });
});

const id = (i: number) => i.toString(16).padStart(16, '0');
const begin = (
  i: number,
  changes: Partial<Extract<NodeQuestion, { action: 'begin' }>> = {},
): NodeQuestion => ({
  ...{ action: 'begin', id: id(i), flow: FLOW, given: FLOW.source, role: 'source' },
  ...changes,
});

describe('a node', () => {
  it('ends what nobody asks about any more, and keeps what somebody does', async () => {
    await traces.answer(begin(1));
    await traces.answer(begin(2));
    await clock.run(10_000);
    await traces.answer({ action: 'look', id: id(2) });
    await clock.run(10_000);
    expect(closed).toBe(1);
    await expect(traces.answer({ action: 'look', id: id(1) })).rejects.toMatchObject({
      code: 'TRACE_UNKNOWN',
    });
    expect(await traces.answer({ action: 'end', id: id(2), triesAgent: false })).toMatchObject({
      node: 'node-a',
    });
    await expect(traces.answer({ action: 'end', id: id(2), triesAgent: false })).rejects.toMatchObject({
      code: 'TRACE_UNKNOWN',
    });
    await clock.run(60_000);
    expect(closed).toBe(1);
  });

  it('has a bound', async () => {
    const all = Array.from({ length: 12 }, (_, i) => traces.answer(begin(i)));
    const results = await Promise.allSettled(all);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(8);
    for (const result of results.slice(8)) expect(result).toMatchObject({ reason: { code: 'TRACE_LIMIT' } });
  });

  it('that ends has nothing run on', async () => {
    await traces.answer(begin(1));
    const late = traces.answer(begin(2));
    await traces.close();
    await expect(late).rejects.toMatchObject({ code: 'TRACE_UNKNOWN' });
    expect(closed).toBe(2);
    await expect(traces.answer(begin(3))).rejects.toMatchObject({ code: 'TRACE_UNKNOWN' });
  });

  it('sends from its own addresses alone', async () => {
    await expect(traces.answer(begin(1, { given: '10.42.2.2' }))).rejects.toMatchObject({
      code: 'TRACE_NOT_OURS',
    });
    await traces.answer(begin(1, { given: '10.42.2.2', role: 'destination' }));
  });
});

describe('a question of another node', () => {
  const answering = (admits: boolean) =>
    new Traces({
      ...{ rpc: { call: async () => [] }, clock, nodeName: 'node-a', own: traces, isSealed: () => true },
      ...{
        world: () => ({ nodeName: 'node-a', pods: [], nodes: [] }),
        idOf: () => undefined,
        endpointOf: () => undefined,
      },
      admits: () => admits,
    });
  const caller = { id: 'b', name: 'node-b' };

  it('is answered to who takes part in forwarding', async () => {
    const body = Buffer.from(JSON.stringify(begin(1)));
    await expect(answering(false).answer(body, caller)).rejects.toMatchObject({ code: 'TRACE_REFUSED' });
    expect(await answering(true).answer(body, caller)).toHaveLength(1);
  });

  it('that makes no sense is refused', async () => {
    const flows = [
      { ...FLOW, source: '10.0.0.0; drop' },
      { ...FLOW, port: 70_000 },
      { ...FLOW, protocol: 'tcp meta' },
    ];
    const bodies = [
      { action: 'rm' },
      ...flows.map((flow) => ({ ...begin(1), flow })),
      { ...begin(1), id: '../x' },
    ];
    for (const body of [...bodies.map((one) => JSON.stringify(one)), '{', '']) {
      await expect(answering(true).answer(Buffer.from(body), caller)).rejects.toMatchObject({
        code: 'BAD_REQUEST',
      });
    }
  });
});
