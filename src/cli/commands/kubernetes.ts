/** `warren kubernetes manifests`. */
import type { Command } from 'commander';
import { WarrenError } from '../../errors.ts';
import type { CliContext } from '../../terminal/io.ts';
import { writeNewFile } from '../new-file.ts';

interface ManifestsCommand {
  readonly newKey?: true;
  readonly keyFile?: string;
  readonly config?: string;
  readonly image?: string;
  readonly output?: string;
  readonly uninstall?: true;
}

export function registerKubernetesCommands(program: Command, context: CliContext): void {
  const kubernetes = program.command('kubernetes').description("be a Kubernetes cluster's network");
  kubernetes
    .command('manifests')
    .description('print what `kubectl apply -f -` makes warren the network of a cluster with')
    .option('--new-key', 'with a cluster key that is made now: once in the life of a cluster')
    .option('--key-file <file>', 'with the cluster key that is in there')
    .option('--config <file>', "the agents' configuration (default: deploy/kubernetes/warren.yaml)")
    .option('--image <name>', 'the image, as nodes know it')
    .option('-o, --output <file>', 'write it to a new file that only its owner can read')
    .option('--uninstall', 'print instead what takes off the nodes that which warren has left there')
    .addHelpText(
      'after',
      '\nWithout a key the cluster keeps the one that it has.\n' +
        '\nExamples:\n  warren kubernetes manifests --new-key -o warren.yaml\n  kubectl apply -f warren.yaml',
    )
    .action(async (options: ManifestsCommand) => {
      const text = await manifestsOf(options);
      if (options.output === undefined) context.io.stdout.write(text);
      else writeNewFile(options.output, text);
    });
}

async function manifestsOf({ newKey, keyFile, config, image, uninstall }: ManifestsCommand): Promise<string> {
  if (newKey && keyFile !== undefined)
    throw new WarrenError('USAGE', '--new-key and --key-file exclude each other');
  const { baseConfig, manifests, uninstallManifests } = await import('../../manifests/manifests.ts');
  const { parseConfig, readConfigText } = await import('../../config/load.ts');
  const { formatPrefix } = await import('../../ip/prefix.ts');
  const text = config === undefined ? baseConfig() : readConfigText(config);
  // Whatever is wrong with it is better said here than by every node.
  const { podCidrs } = parseConfig(text, config ?? 'warren.yaml', 'node').cluster;
  if (uninstall)
    return uninstallManifests({ image, podCidrs: podCidrs.map(({ range }) => formatPrefix(range)) });
  return manifests({ image, config: text, key: await keyOf(newKey, keyFile) });
}

async function keyOf(isNew: true | undefined, file: string | undefined): Promise<string | undefined> {
  const { generateClusterKey, readKeyFile } = await import('../../link/key-ring.ts');
  if (isNew) return generateClusterKey();
  return file === undefined ? undefined : readKeyFile(file);
}
