/** `warren policy apply|delete|list|explain`: which pods reach which. */
import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { errorMessage, WarrenError } from '../../errors.ts';
import type { ExplainRequest, PolicyChange } from '../../policy/commands.ts';
import { type CliContext, EXIT_FAILURE } from '../../terminal/io.ts';
import { painter } from '../../terminal/table.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

interface Options extends SocketOption {
  readonly json?: true;
  readonly all?: true;
}
interface ApplyOptions extends Options {
  readonly file?: readonly string[];
  readonly staged?: true;
}
interface ExplainOptions extends Options {
  readonly tcp?: number;
  readonly udp?: number;
  readonly icmp?: true;
}

export function registerPolicyCommands(program: Command, context: CliContext): void {
  const policy = program
    .command('policy')
    .description('show and change which pods reach which: network policies');

  withSocket(
    policy
      .command('apply')
      .description('take over NetworkPolicy documents (networking.k8s.io/v1) of YAML or JSON')
      .option(
        '-f, --file <file>',
        'a file with one document or many; -: standard input; may be repeated',
        (file: string, before: readonly string[] | undefined) => [...(before ?? []), file],
      )
      .option('--staged', 'count what they would deny, and deny nothing')
      .option('--all', 'give all that this node has to all other nodes, in place of what they have')
      .option('--json', 'print JSON')
      .addHelpText(
        'after',
        '\nA document takes the place of the one with its namespace and name. All nodes are to have the same:\n' +
          'others are told of them with --all alone, and `warren status` shows which nodes have others.\n' +
          '\nExamples:\n  warren policy apply -f policies.yaml --all\n  warren policy apply --all',
      ),
  ).action(async (options: ApplyOptions) => {
    const { file: files = [], all } = options;
    if (files.length === 0 && !all) {
      throw new WarrenError('USAGE', 'name a file with -f, or --all for the policies that this node has');
    }
    const apply = await documentsOf(files, options.staged === true);
    await change(context, options, { apply, ...(all && { all }) });
  });

  withSocket(
    policy
      .command('delete')
      .alias('rm')
      .description('remove policies')
      .argument(
        '<names...>',
        'as `warren policy list` shows them; without NAMESPACE/ of the namespace default',
      )
      .option('--all', 'on all nodes: they get all that this node has then')
      .option('--json', 'print JSON'),
  ).action((names: string[], options: Options) =>
    change(context, options, { delete: names, ...(options.all && { all: true }) }),
  );

  withSocket(
    policy
      .command('list')
      .description('show the policies of this node, the pods here that they select, and what they denied')
      .option('--json', 'print them as JSON, with their documents'),
  ).action(async (options: Options) => {
    const report = await agentClient(context, options).policies();
    if (options.json) return printJson(context, report);
    const { renderPolicies } = await import('../policy-reports.ts');
    context.io.stdout.write(renderPolicies(report, painter(context.io.stdout, context.io.env)));
  });

  withSocket(
    policy
      .command('explain')
      .description(
        'say whether packets pass from one pod to another, by which rule, and what the kernel counted',
      )
      .argument('<source>', 'a pod of any node, NAMESPACE/NAME, or an address')
      .argument('<destination>', 'the same')
      .option('--tcp <port>', 'of TCP to this port', portOf)
      .option('--udp <port>', 'of UDP to this port', portOf)
      .option('--icmp', 'of ping (default)')
      .option('--json', 'print JSON')
      .addHelpText(
        'after',
        '\nThe exit code is 1 if they are denied.\n\nExample:\n  warren policy explain web db --tcp 5432',
      ),
  ).action(async (source: string, destination: string, options: ExplainOptions) => {
    const report = await agentClient(context, options).explainPolicies({
      ...{ source, destination },
      ...packetOf(options),
    });
    if (report.verdict === 'denied') context.exitCode = EXIT_FAILURE;
    if (options.json) return printJson(context, report);
    const { renderExplanation } = await import('../policy-reports.ts');
    context.io.stdout.write(renderExplanation(report, painter(context.io.stdout, context.io.env)));
  });
}

function packetOf({ tcp, udp, icmp }: ExplainOptions): Pick<ExplainRequest, 'protocol' | 'port'> {
  if ([tcp, udp, icmp].filter((one) => one !== undefined).length > 1) {
    throw new WarrenError('USAGE', 'one of --tcp, --udp and --icmp is possible');
  }
  if (tcp !== undefined) return { protocol: 'tcp', port: tcp };
  return udp === undefined ? { protocol: 'icmp', port: 0 } : { protocol: 'udp', port: udp };
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new InvalidArgumentError('It must be a port, 1 to 65535.');
}

/** What is wrong with a file is said here, with its lines: the agent takes what is right. */
async function documentsOf(files: readonly string[], staged: boolean): Promise<unknown[]> {
  if (files.length === 0) return [];
  const { parsePolicies } = await import('../../policy/documents.ts');
  const { STAGED } = await import('../../policy/compile.ts');
  const documents = files.flatMap((file) =>
    parsePolicies(textOf(file), file === '-' ? 'standard input' : file),
  );
  if (!staged) return documents;
  return documents.map((one) => ({
    ...one,
    metadata: { ...one.metadata, annotations: { ...one.metadata.annotations, [STAGED]: 'true' } },
  }));
}

function textOf(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new WarrenError('POLICY_UNREADABLE', `cannot read ${file}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

async function change(context: CliContext, options: Options, wanted: PolicyChange): Promise<void> {
  const report = await agentClient(context, options).changePolicies(wanted);
  if (report.problem !== undefined || report.unreachable.length > 0) context.exitCode = EXIT_FAILURE;
  if (options.json) return printJson(context, report);
  const { renderChange } = await import('../policy-reports.ts');
  context.io.stdout.write(renderChange(report));
}
