/** `warren node list|approve|revoke`: which nodes take part in forwarding. */
import type { Command } from 'commander';
import { WarrenError } from '../../errors.ts';
import type { ListedNode, NodeChange, NodeListReport } from '../../readmodel/reports.ts';
import type { CliContext } from '../../terminal/io.ts';
import { type Colour, type Paint, painter, renderTable } from '../../terminal/table.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

interface Options extends SocketOption {
  readonly json?: true;
  readonly all?: true;
}

export function registerNodeCommands(program: Command, context: CliContext): void {
  const { stdout } = context.io;
  const node = program
    .command('node')
    .description('show and change which nodes take part in forwarding')
    .addHelpText(
      'after',
      '\nTo let only approved nodes into a cluster that runs:\n' +
        '  1. put the id of a node or two into cluster.approvers of every node, and `warren reload` each\n' +
        '  2. warren node approve --all    on one of these\n' +
        '  3. set cluster.admission: allowlist on every node, and `warren reload` each\n' +
        'Changes are made on a node of cluster.approvers alone; every node takes them over within seconds.',
    );
  withSocket(
    node
      .command('list')
      .description('show all nodes, with who is approved, revoked, or pending')
      .option('--json', 'print JSON'),
  ).action(async (options: Options) => {
    const report = await agentClient(context, options).listNodes();
    if (options.json) printJson(context, report);
    else stdout.write(renderNodes(report, painter(stdout, context.io.env)));
  });

  withSocket(
    node
      .command('approve')
      .description('let nodes take part, also ones that are yet to join')
      .argument('[nodes...]', 'by id, or by a name that only one has (a node chooses its name itself)')
      .option('--all', 'all that are there now and are not revoked')
      .option('--json', 'print JSON'),
  ).action((nodes: string[], options: Options) => {
    if (nodes.length === 0 && !options.all) {
      throw new WarrenError('USAGE', 'name the nodes, or --all of them');
    }
    return change(context, { action: 'approve', nodes, all: options.all === true }, options, 'is approved');
  });

  withSocket(
    node
      .command('revoke')
      .description("end nodes' part in forwarding, everywhere, and free their subnets")
      .argument('<nodes...>', 'by id, or by a name that only one has')
      .option('--json', 'print JSON')
      .addHelpText(
        'after',
        '\nA revoked node still has the cluster key, and hears and takes part in gossip. To keep it out of that too,\n' +
          'give the other nodes another key by their key files.',
      ),
  ).action((nodes: string[], options: Options) =>
    change(context, { action: 'revoke', nodes }, options, 'is revoked'),
  );
}

async function change(
  context: CliContext,
  wanted: NodeChange,
  options: Options,
  done: string,
): Promise<void> {
  const report = await agentClient(context, options).changeNodes(wanted);
  if (options.json) printJson(context, report);
  else if (report.length === 0) context.io.stdout.write('nothing to do\n');
  else for (const { name, id } of report) context.io.stdout.write(`${name || id} (${id}) ${done}\n`);
}

const COLOURS: Readonly<Record<ListedNode['admission'], Colour>> = {
  approved: 'green',
  pending: 'yellow',
  revoked: 'red',
};

function renderNodes({ mode, nodes }: NodeListReport, paint: Paint): string {
  const rows = nodes.map((node) => [
    node.self ? `${node.name} *` : node.name,
    node.id,
    node.status,
    [
      paint(node.admission, COLOURS[node.admission]),
      node.by === undefined ? '' : ` by ${node.by} at ${node.at ?? ''}`,
      node.approver ? ', approver' : '',
    ].join(''),
  ]);
  const how =
    mode === 'open'
      ? 'admission: open, whoever is not revoked takes part'
      : 'admission: allowlist, only approved nodes take part';
  return `${renderTable(['NODE', 'ID', 'STATUS', 'ADMISSION'], rows, paint)}${how}\n`;
}
