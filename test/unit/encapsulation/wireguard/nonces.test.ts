/** No counter is given twice, whoever asks. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { build } from 'rolldown';
import { expect, it } from 'vitest';
import { REJECT_AFTER_MESSAGES } from '../../../../src/encapsulation/wireguard/constants.ts';
import { NONCE_BYTES, Nonces } from '../../../../src/encapsulation/wireguard/nonces.ts';

it('counts from zero on, as many as are asked for', () => {
  const nonces = new Nonces();
  expect([nonces.take(1), nonces.take(64), nonces.take(3), nonces.taken]).toEqual([0, 1, 65, 68]);
});

it('gives none above the ceiling, not even those of a group that just begin below it', () => {
  const shared = new SharedArrayBuffer(2 * NONCE_BYTES);
  new BigUint64Array(shared)[1] = BigInt(REJECT_AFTER_MESSAGES - 10);
  const nonces = new Nonces(shared, NONCE_BYTES);
  expect(nonces.take(4)).toBe(REJECT_AFTER_MESSAGES - 10);
  expect(nonces.take(7)).toBe(-1);
  expect(nonces.take(1)).toBe(-1);
});

it('gives threads that ask at the same time different ones', async () => {
  const [threads, takes] = [3, 20_000];
  const shared = new SharedArrayBuffer(NONCE_BYTES);
  const gate = new Int32Array(new SharedArrayBuffer(4));
  // The class itself, as a thread can load it.
  const { output } = await build({
    input: fileURLToPath(new URL('../../../../src/encapsulation/wireguard/nonces.ts', import.meta.url)),
    write: false,
  });
  const code = `${output[0].code}
    import { parentPort, workerData } from 'node:worker_threads';
    const { shared, gate, takes } = workerData;
    const nonces = new Nonces(shared);
    const firsts = new Float64Array(takes);
    parentPort.postMessage('ready');
    Atomics.wait(gate, 0, 0);
    for (let take = 0; take < takes; take++) firsts[take] = nonces.take(1 + (take & 3));
    parentPort.postMessage(firsts);`;
  const workers = Array.from(
    { length: threads },
    () =>
      new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
        workerData: { shared, gate, takes },
      }),
  );
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  const results = workers.map((worker) => once(worker, 'message'));
  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
  const counters = (await Promise.all(results)).flatMap(([firsts]) =>
    [...(firsts as Float64Array)].flatMap((first, take) =>
      Array.from({ length: 1 + (take & 3) }, (_, offset) => first + offset),
    ),
  );
  await Promise.all(workers.map((worker) => worker.terminate()));
  const expected = (threads * takes * (1 + 2 + 3 + 4)) / 4;
  expect(counters.length).toBe(expected);
  expect(new Set(counters).size).toBe(expected);
});
