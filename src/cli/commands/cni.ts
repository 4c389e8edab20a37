/** `warren cni install|uninstall`. */
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { WarrenError } from '../../errors.ts';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, type SocketOption, withSocket } from '../agent-option.ts';

/** For a plugin that a runtime has started just now: until then it needs what is older. */
const OLD_PLUGIN_MS = 2000;

interface CniOptions extends SocketOption {
  readonly root: string;
}

export function registerCniCommands(program: Command, context: CliContext): void {
  const { stdout } = context.io;
  const cni = program.command('cni').description("put containers of this node's runtimes on the overlay");
  const withRoot = (command: Command) =>
    withSocket(command.option('--root <dir>', 'where the host is mounted, as the agent sees it too', '/'));

  withRoot(
    cni
      .command('install')
      .description('install the CNI plugin, with a Node.js of its own, and have the agent announce it')
      .addHelpText('after', '\nExamples:\n  warren cni install\n  warren cni install --root /host'),
  ).action(async ({ root, ...options }: CniOptions) => {
    const { checkRoot, placePlugin, placesBelow, removeOlder } = await import('../../cni-install/install.ts');
    const path = resolve(root);
    checkRoot(path);
    const client = agentClient(context, options);
    // Before anything is changed: an agent that is there and does not serve CNI is to say so.
    const hasAgent = await isNotAway(client.cniStatus());
    placePlugin(path);
    const places = placesBelow(path);
    const answer = hasAgent ? await client.installCni(places) : undefined;
    await delay(OLD_PLUGIN_MS);
    removeOlder(path);
    stdout.write(`${places.plugin} is installed. ${announcement(places.conflist, answer)}\n`);
    if (!places.portmap)
      stdout.write('Without the plugin portmap of containernetworking-plugins there are no port mappings.\n');
  });

  withRoot(
    cni.command('uninstall').description('take the CNI plugin and its network configuration away'),
  ).action(async ({ root, ...options }: CniOptions) => {
    const { placesBelow, removePlugin } = await import('../../cni-install/install.ts');
    const { rmSync } = await import('node:fs');
    const path = resolve(root);
    const { conflist } = placesBelow(path);
    const hasAgent = await isNotAway(agentClient(context, options).uninstallCni(conflist));
    // It finds at its next start that the plugin is gone.
    if (!hasAgent) rmSync(conflist, { force: true });
    removePlugin(path);
    stdout.write(
      'The CNI plugin is removed. Containers that are running keep their network until they end.\n',
    );
  });
}

/** Whether an agent has answered. Throws what it has said against it. */
async function isNotAway(asked: Promise<unknown>): Promise<boolean> {
  try {
    await asked;
    return true;
  } catch (error) {
    if (error instanceof WarrenError && error.code === 'AGENT_NOT_RUNNING') return false;
    throw error;
  }
}

/** `answer`: the agent's; undefined if none runs, as before a Kubernetes pod's own containers are started. */
function announcement(conflist: string, answer: { readonly isWritten: boolean } | undefined): string {
  if (answer === undefined) {
    return `No agent runs: for runtimes to find it, the agent writes ${conflist} once it runs and \`warren cni install\` is said again.`;
  }
  const when = answer.isWritten ? 'is there' : 'will be there as soon as the overlay is up';
  return `For runtimes to find it, ${conflist} ${when}.`;
}
