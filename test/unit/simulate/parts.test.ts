import { expect, test } from 'vitest';
import { buildProgram } from '../../../src/cli/main.ts';
import { type Part, type PartResult, partsOf, replayOf } from '../../../src/simulate/parts.ts';
import { runParts } from '../../../src/simulate/pool.ts';

const everything = { seed: 7, nodes: 10_000, minutes: 60, histories: 10_000, attaches: 200 };

test('parts cover the whole extent, each history once', () => {
  const parts = partsOf(everything);
  expect(parts.flatMap((part) => (part.kind === 'news' ? part.nodes : []))).toEqual([
    10, 30, 100, 300, 1000, 3000, 10_000,
  ]);
  expect(parts.flatMap((part) => (part.kind === 'alarms' ? [part] : []))).toEqual([
    { kind: 'alarms', seed: 7, nodes: 1000, minutes: 60, lifeguard: true },
    { kind: 'alarms', seed: 7, nodes: 1000, minutes: 60, lifeguard: false },
  ]);
  expect(parts.flatMap((part) => (part.kind === 'inventory' ? [[part.first, part.loss]] : []))).toEqual([
    ['teller', 0],
    ['owner', 0],
    ['random', 0],
    ['teller', 0.01],
  ]);
  let next = 700_000;
  for (const part of parts) {
    if (part.kind !== 'leases') continue;
    expect(part.firstSeed).toBe(next);
    next += part.histories;
  }
  expect(next).toBe(710_000);
  expect(partsOf({ seed: 1, nodes: 30, minutes: 0, histories: 0, attaches: 0 })).toHaveLength(2);
});

/** A runner whose parts end when they are told to. */
function manualRunners() {
  const running: { part: Part; end: (error?: Error) => void }[] = [];
  let open = 0;
  return {
    running,
    open: () => open,
    newRunner: () => {
      open++;
      return {
        run: (part: Part) =>
          new Promise<PartResult>((resolve, reject) => {
            const end = (error?: Error) =>
              error ? reject(error) : resolve({ kind: part.kind } as PartResult);
            running.push({ part, end });
          }),
        close: async () => {
          open--;
        },
      };
    },
  };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('the longest begin first, as many as there are threads, and results come in order', async () => {
  const { running, newRunner, open } = manualRunners();
  const parts = partsOf({ seed: 1, nodes: 100, minutes: 60, histories: 0, attaches: 0 });
  const reported: Part[] = [];
  const done = runParts(parts, 2, newRunner, (_, part) => reported.push(part));
  expect(running.map(({ part }) => part)).toEqual([parts[3], parts[4]]);
  running[1]!.end();
  await settled();
  expect(running.map(({ part }) => part)).toEqual([parts[3], parts[4], parts[2]]);
  expect(reported).toEqual([]);
  while (reported.length < parts.length) {
    for (const { end } of running) end();
    await settled();
  }
  await done;
  expect(reported).toEqual(parts);
  expect(open()).toBe(0);
});

test('a part that cannot be run to its end names the command that does it again', async () => {
  const { running, newRunner, open } = manualRunners();
  const [part] = partsOf({ seed: 5, nodes: 10, minutes: 0, histories: 0, attaches: 0 });
  const done = runParts([part!], 4, newRunner, () => {});
  running[0]!.end(new Error('nobody knows'));
  await expect(done).rejects.toMatchObject({
    code: 'SIMULATION_FAILED',
    message: 'nobody knows',
    hint: 'The same again: warren simulate --seed 5 --nodes 10 --minutes 0 --histories 0 --attaches 0',
  });
  expect(open()).toBe(0);
});

test('the command line takes every replay, whatever the seed', async () => {
  const quiet = { write: () => {}, isTerminal: false, columns: 100 };
  const io = { stdout: quiet, stderr: quiet, env: {}, interruptSignal: () => new AbortController().signal };
  for (const part of [...partsOf(everything), ...partsOf({ ...everything, seed: 1_000_000 })]) {
    const program = await buildProgram({ io, exitCode: 0 }, ['simulate']);
    const simulate = program.commands.find((command) => command.name() === 'simulate')!;
    let ran = false;
    const run = () => {
      ran = true;
    };
    simulate.action(run);
    simulate.commands[0]!.action(run);
    await program.parseAsync(replayOf(part).split(' ').slice(1), { from: 'user' });
    expect(ran, replayOf(part)).toBe(true);
  }
});
