/** Programs that a test runs and that must succeed. */
import { type CommandOptions, runCommand } from '../../src/lab/command.ts';

/** Runs `argv`; answers its standard output, or throws with all that it said. */
export async function output(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await runCommand(argv, options);
  if (code !== 0) throw new Error(`\`${argv.join(' ')}\` ended with code ${code}:\n${stdout}\n${stderr}`);
  return stdout;
}
