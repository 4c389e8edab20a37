/** `warren agent`, `warren config check` and `warren key generate`: what needs no agent that runs. */
import type { Command } from 'commander';
import type { CliContext } from '../../terminal/io.ts';
import { printJson } from '../agent-option.ts';
import { writeNewFile } from '../new-file.ts';

export function registerAgentCommand(program: Command, context: CliContext): void {
  program
    .command('agent')
    .description("run this node's agent in the foreground (needs root)")
    .requiredOption('-c, --config <file>', 'the configuration')
    .option('--cni', 'announce the CNI plugin of /opt/cni/bin to runtimes once the overlay is up')
    .option('--cleanup', 'remove the devices, routes and pods that an agent left, and end')
    .addHelpText(
      'after',
      '\nSIGTERM or Ctrl-C stops it. Pods and the TUN device stay, so a restart loses nothing.',
    )
    .action(async (options: { config: string; cni?: true; cleanup?: true }) => {
      const { keepYoungGenerationSmall } = await import('../../sys/young-generation.ts');
      // Before all that allocates.
      keepYoungGenerationSmall();
      const { loadConfig } = await import('../../config/load.ts');
      const config = loadConfig(options.config);
      const { cleanupNode, runAgent } = await import('../../agent/run.ts');
      if (options.cleanup) await cleanupNode(config);
      else {
        const announce = options.cni && (await import('../../cni-install/install.ts')).placesBelow('/');
        context.exitCode = await runAgent(config, () => loadConfig(options.config), announce);
      }
    });
}

export function registerConfigCommand(program: Command, context: CliContext): void {
  const config = program.command('config').description('work with configuration files');
  config
    .command('check')
    .description('report all that is wrong with a configuration, or print it with every default')
    .argument('<file>', 'the configuration')
    .option('--json', 'print JSON')
    .action(async (file: string, options: { json?: true }) => {
      const { loadConfig } = await import('../../config/load.ts');
      const { plainConfig, renderConfig } = await import('../../config/render.ts');
      const checked = loadConfig(file);
      if (options.json) printJson(context, plainConfig(checked));
      else context.io.stdout.write(renderConfig(checked));
    });
}

export function registerKeyCommand(program: Command, context: CliContext): Command {
  const key = program.command('key').description('make cluster keys, and change those of a running cluster');
  key
    .command('generate')
    .description('make a new cluster key')
    .option('-o, --output <file>', 'write it to a new file that only its owner can read')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nCopy the file to every node and name it in cluster.keyFile.\n' +
        '\nExample:\n  warren key generate -o /etc/warren/cluster.key',
    )
    .action(async (options: { output?: string; json?: true }) => {
      const { generateClusterKey } = await import('../../link/key-ring.ts');
      const key = generateClusterKey();
      if (options.output !== undefined) writeNewFile(options.output, `${key}\n`);
      // What went into a file is not shown: terminals and logs keep what they see.
      if (options.json)
        printJson(context, options.output === undefined ? { key } : { output: options.output });
      else if (options.output === undefined) context.io.stdout.write(`${key}\n`);
    });
  return key;
}
