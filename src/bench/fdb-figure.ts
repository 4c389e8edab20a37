/** FDB look-ups per second, from the micro-benchmark in a process of its own, where nothing else was compiled. */
import { runCommand } from '../host/command.ts';
import { builtFile } from '../package.ts';
import { z } from '../zod.ts';

const MICRO = builtFile('bench/micro/main');
const TIMEOUT_MS = 120_000;

const results = z.array(z.object({ name: z.string(), operationsPerSecond: z.number() }));

/** With 100,000 prefixes, in the slower family. */
export async function measureFdb(): Promise<number> {
  const argv = [process.execPath, MICRO, 'fdb', '--json'];
  const stdout = await runCommand(argv, { timeoutMs: TIMEOUT_MS });
  const large = results.parse(JSON.parse(stdout)).filter(({ name }) => name.includes('100,000'));
  return Math.min(...large.map(({ operationsPerSecond }) => operationsPerSecond));
}
