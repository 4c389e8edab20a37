/** `warren status`, `peers`, `routes` and `pods`. */
import { type Command, InvalidArgumentError } from 'commander';
import type { AgentClient } from '../../api/client.ts';
import type {
  InventoryReport,
  PeerReport,
  PodReport,
  RouteReport,
  StatusReport,
} from '../../readmodel/reports.ts';
import { COUNTING_TOPICS, type Topic } from '../../readmodel/topics.ts';
import type { CliContext } from '../../terminal/io.ts';
import { type Paint, painter } from '../../terminal/table.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';
import { renderInventory, renderPeers, renderPods, renderRoutes, renderStatus } from '../reports.ts';
import { watch } from '../watch.ts';

interface ReportOptions extends SocketOption {
  readonly json?: true;
  readonly watch?: true | number;
  readonly all?: true;
}

const DEFAULT_WATCH_SECONDS = 2;

export function registerReportCommands(program: Command, context: CliContext): void {
  report<StatusReport>(program, context, {
    name: 'status',
    description: 'show this node: its subnets, its tunnel, what it forwarded and dropped',
    ask: (client) => client.status(),
    render: renderStatus,
  });
  report<readonly PeerReport[]>(program, context, {
    name: 'peers',
    description: 'list the other nodes, with their subnets and traffic',
    ask: (client) => client.peers(),
    render: renderPeers,
  });
  report<readonly RouteReport[]>(program, context, {
    name: 'routes',
    description: 'list which prefix goes to which node',
    ask: (client) => client.routes(),
    render: renderRoutes,
  });
  report<readonly PodReport[], readonly InventoryReport[]>(program, context, {
    name: 'pods',
    description: 'list the pods of this node',
    ask: (client) => client.pods(),
    render: renderPods,
    all: {
      topic: 'inventory',
      description: 'those of all nodes, as this one knows them',
      ask: (client) => client.inventory(),
      render: renderInventory,
    },
  });
}

interface Report<T> {
  readonly description: string;
  ask(client: AgentClient): Promise<T>;
  render(value: T, paint: Paint): string;
}

interface ReportKind<T, A> extends Report<T> {
  /** Of the command, and of the topic. */
  readonly name: 'status' | 'peers' | 'routes' | 'pods';
  /** What `--all` shows instead. */
  readonly all?: Report<A> & { readonly topic: Topic };
}

function report<T, A = never>(program: Command, context: CliContext, kind: ReportKind<T, A>): void {
  const command = program
    .command(kind.name)
    .description(kind.description)
    .option('--json', 'print JSON; with --watch, one line each time')
    .option(
      '-w, --watch [seconds]',
      `print again at each change and every so often (default: ${DEFAULT_WATCH_SECONDS})`,
      seconds,
    );
  if (kind.all) command.option('-a, --all', kind.all.description);
  withSocket(command).action(async (options: ReportOptions) => {
    if (kind.all && options.all) await show(context, kind.all.topic, kind.all, options);
    else await show(context, kind.name, kind, options);
  });
}

async function show<T>(
  context: CliContext,
  topic: Topic,
  kind: Report<T>,
  options: ReportOptions,
): Promise<void> {
  const { io } = context;
  const client = agentClient(context, options);
  const paint = painter(io.stdout, io.env);
  if (options.watch === undefined) {
    const value = await kind.ask(client);
    if (options.json) printJson(context, value);
    else io.stdout.write(kind.render(value, paint));
    return;
  }
  const intervalSeconds = options.watch === true ? DEFAULT_WATCH_SECONDS : options.watch;
  await watch<T>(io, {
    intervalMs: intervalSeconds * 1000,
    follow: (signal) => client.watch<T>(topic, { intervalSeconds, signal }),
    isRepeated: !COUNTING_TOPICS.has(topic),
    render: (value) => (options.json ? `${JSON.stringify(value)}\n` : kind.render(value, paint)),
  });
}

function seconds(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0.1 && value <= 86_400) return value;
  throw new InvalidArgumentError('It must be a number of seconds, 0.1 or more.');
}
