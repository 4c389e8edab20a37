/**
 * `npm run bench:micro [-- FILE...] [--json]`: the hot functions one by one. FILE: fdb, header-write, segment,
 * coalesce, checksum, aead; all of them by default.
 */
import { renderTable } from '../../terminal/table.ts';
import { formatFigure } from '../metrics.ts';
import { benchmarks as aead } from './aead.ts';
import { benchmarks as checksum } from './checksum.ts';
import { benchmarks as coalesce } from './coalesce.ts';
import { benchmarks as fdb } from './fdb.ts';
import { type MicroBenchmark, type MicroResult, runMicro } from './harness.ts';
import { benchmarks as headerWrite } from './header-write.ts';
import { benchmarks as segment } from './segment.ts';

const FILES: Readonly<Record<string, () => MicroBenchmark[]>> = {
  fdb,
  'header-write': headerWrite,
  segment,
  coalesce,
  checksum,
  aead,
};

function main(args: readonly string[]): number {
  const json = args.includes('--json');
  const names = args.filter((arg) => arg !== '--json');
  const unknown = names.find((name) => FILES[name] === undefined);
  if (unknown !== undefined) {
    console.error(
      `bench:micro: there is no "${unknown}"; there are: ${Object.keys(FILES).join(', ')}, --json`,
    );
    return 2;
  }
  const results: MicroResult[] = [];
  for (const name of names.length > 0 ? names : Object.keys(FILES)) {
    for (const benchmark of FILES[name]!()) {
      if (!json) process.stderr.write(`${benchmark.name} ...\n`);
      results.push(runMicro(benchmark));
    }
  }
  process.stdout.write(json ? `${JSON.stringify(results, null, 2)}\n` : table(results));
  return 0;
}

function table(results: readonly MicroResult[]): string {
  const right = (text: string) => ({ text, right: true });
  const header = ['FUNCTION', right('NS'), right('MIN'), right('MAX'), right('MILLION/S'), 'OF'];
  const rows = results.map(({ name, unit, nanoseconds, operationsPerSecond }) => [
    name,
    right(formatFigure(nanoseconds.median)),
    right(formatFigure(nanoseconds.min)),
    right(formatFigure(nanoseconds.max)),
    right(formatFigure(operationsPerSecond / 1e6)),
    unit,
  ]);
  return `\n${renderTable(header, rows, (text) => text)}`;
}

process.exitCode = main(process.argv.slice(2));
