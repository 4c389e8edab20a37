/** `warren pod add|rm` and `warren exec`. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { WarrenError } from '../../errors.ts';
import { argvInPod } from '../../host/pod-command.ts';
import { runAttached } from '../../terminal/attached.ts';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';
import { addLabel } from '../label-option.ts';

interface AddOptions extends SocketOption {
  readonly netns?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly json?: true;
}

export function registerPodCommands(program: Command, context: CliContext): void {
  const { stdout } = context.io;
  const pod = program.command('pod').description('add and remove pods of this node');

  withSocket(
    pod
      .command('add')
      .description('make a pod: a network namespace with addresses of this node')
      .argument('<name>', '1 to 63 lower-case letters, digits and hyphens')
      .option('--netns <path>', 'put the pod into this network namespace instead of a new one')
      .option(
        '--label <key=value>',
        'a label of the pod, for others to choose it by; may be repeated',
        addLabel,
      )
      .option('--json', 'print the pod as JSON')
      .addHelpText(
        'after',
        '\nExamples:\n  warren pod add web --label app=web\n  warren pod add db --netns /run/netns/blue\n  warren pod add box --netns /proc/1234/ns/net',
      ),
  ).action(async (name: string, options: AddOptions) => {
    // The agent has another working directory.
    const netns = options.netns === undefined ? undefined : resolve(options.netns);
    const added = await agentClient(context, options).addPod(name, { netns, labels: options.label });
    if (options.json) printJson(context, added);
    else stdout.write(`${added.name}  ${added.addresses.join('  ')}  ${added.netns}\n`);
  });

  withSocket(
    pod
      .command('rm')
      .alias('remove')
      .description('remove a pod and free its addresses')
      .argument('<name>', 'name of the pod')
      .option('--json', 'print the pod that was removed as JSON'),
  ).action(async (name: string, options: AddOptions) => {
    const removed = await agentClient(context, options).removePod(name);
    if (options.json) printJson(context, removed);
    else stdout.write(`${removed.name} is removed.\n`);
  });

  withSocket(
    program
      .command('exec')
      .description('run a command in the network namespace of a pod')
      .usage('[options] <pod> -- <command...>')
      .argument('<pod>', 'name of the pod')
      .argument('<command...>', 'what to run, with its own options')
      .passThroughOptions()
      .addHelpText(
        'after',
        "\nThe exit code is the command's own; 127: it does not exist, 126: it cannot be run.\n" +
          '\nExamples:\n  warren exec web -- ping -c 3 10.42.7.2\n  warren exec web -- ip address',
      ),
  ).action(async (name: string, words: string[], options: SocketOption) => {
    const argv = words[0] === '--' ? words.slice(1) : words;
    if (argv.length === 0) {
      throw new WarrenError('USAGE', 'there is no command to run', {
        hint: 'Like this: warren exec POD -- COMMAND',
      });
    }
    const pods = await agentClient(context, options).pods();
    const found = pods.find((candidate) => candidate.name === name);
    if (found === undefined) {
      throw new WarrenError('POD_UNKNOWN', `there is no pod ${name} on this node`, {
        hint: '`warren pods` lists them.',
      });
    }
    if (found.status === 'missing') {
      throw new WarrenError('POD_MISSING', `the network namespace ${found.netns} of pod ${name} is gone`, {
        hint: `Remove the pod with: warren pod rm ${name}`,
      });
    }
    context.exitCode = await runAttached(await argvInPod(found.netns, argv));
  });
}
