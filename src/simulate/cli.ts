import type { Command } from 'commander';
import type { CliContext } from '../cli/io.ts';
import { timingPresets } from '../membership/timing.ts';
import { measureDissemination } from './dissemination.ts';

export function registerSimulateCommand(program: Command, context: CliContext): void {
  program
    .command('simulate')
    .argument('[nodes...]')
    .action(async (sizes: string[]) => {
      for (const nodes of sizes.map(Number)) {
        const startMs = performance.now();
        const result = await measureDissemination({ seed: 1, nodes, timing: timingPresets.lan });
        context.io.stdout.write(
          `${JSON.stringify(result)} ${Math.round(performance.now() - startMs)} ms real\n`,
        );
      }
    });
}
