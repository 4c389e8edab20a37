/** `warren key list|add|use|remove`: the keys of a cluster that runs. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { errorMessage, WarrenError } from '../../errors.ts';
import type { KeyListReport } from '../../readmodel/reports.ts';
import type { CliContext } from '../../terminal/io.ts';
import { type Paint, painter, renderTable } from '../../terminal/table.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

interface Options extends SocketOption {
  readonly json?: true;
  readonly force?: true;
}

export function registerKeyRingCommands(key: Command, context: CliContext): void {
  const { stdout } = context.io;
  key.addHelpText(
    'after',
    '\nTo change the key of a running cluster, on any node and in this order:\n' +
      '  warren key add              make a new key, and give it to every node\n' +
      '  warren key list             wait until all nodes have it\n' +
      '  warren key use FINGERPRINT  seal with it\n' +
      '  warren key remove OLD       refuse the old one\n' +
      'Then put the new key into the key file of nodes that are to join later.',
  );
  withSocket(
    key
      .command('list')
      .description("show the cluster's keys by fingerprint, and how many nodes have each")
      .option('--json', 'print JSON'),
  ).action(async (options: Options) => {
    const report = await agentClient(context, options).listKeys();
    if (options.json) printJson(context, report);
    else stdout.write(renderKeys(report, painter(stdout, context.io.env)));
  });

  withSocket(
    key
      .command('add')
      .description('give every node another key, which opens gossip and does not seal it yet')
      .argument('[file]', 'file with the key; absent: a new one is made and printed')
      .option('--json', 'print JSON'),
  ).action(async (file: string | undefined, options: Options) => {
    const { generateClusterKey } = await import('../../link/key-ring.ts');
    const text = file === undefined ? generateClusterKey() : readKey(file);
    const { fingerprint } = await agentClient(context, options).changeKeys({ action: 'add', key: text });
    if (options.json) printJson(context, { fingerprint, ...(file === undefined && { key: text }) });
    else if (file === undefined)
      stdout.write(`${text}\nadded as ${fingerprint}; keep the line above secret\n`);
    else stdout.write(`added as ${fingerprint}\n`);
  });

  change(key, context, 'use', 'seal gossip with this key from now on', 'now seals');
  change(key, context, 'remove', 'open gossip with this key no more', 'is removed');
}

function change(
  key: Command,
  context: CliContext,
  action: 'use' | 'remove',
  description: string,
  done: string,
): void {
  withSocket(
    key
      .command(action)
      .description(description)
      .argument('<fingerprint>', 'the key, as `warren key list` shows it')
      .option('--force', 'also while some nodes are not ready for it, which cuts them off')
      .option('--json', 'print JSON'),
  ).action(async (fingerprint: string, options: Options) => {
    const report = await agentClient(context, options).changeKeys({
      action,
      fingerprint,
      force: options.force === true,
    });
    if (options.json) printJson(context, report);
    else context.io.stdout.write(`${report.fingerprint} ${done}\n`);
  });
}

function renderKeys({ keys, nodes, silent }: KeyListReport, paint: Paint): string {
  const rows = keys.map((key) => [
    key.fingerprint,
    key.primary ? 'primary' : '',
    `${key.nodes} of ${nodes}`,
    `${key.primaryOn} of ${nodes}`,
  ]);
  const table = renderTable(['KEY', '', 'NODES', 'SEALED BY'], rows, paint);
  return silent.length === 0 ? table : `${table}no answer from: ${silent.join(', ')}\n`;
}

function readKey(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new WarrenError('KEY_FILE', `cannot read ${file}: ${errorMessage(error)}`, { cause: error });
  }
}
