/** `warren host check`: exit code 0 if nothing stands in the way of an agent on this host, 1 otherwise. */
import type { Command } from 'commander';
import type { Config } from '../../config/config.ts';
import type { Finding, Severity } from '../../host-check/finding.ts';
import type { FixResult } from '../../host-check/fix.ts';
import { type CliContext, EXIT_FAILURE } from '../../terminal/io.ts';
import { type Colour, type Paint, painter } from '../../terminal/table.ts';
import { printJson } from '../agent-option.ts';

const COLOURS: Readonly<Record<Severity, Colour>> = { error: 'red', warning: 'yellow', note: 'dim' };

interface CheckOptions {
  readonly config?: string;
  readonly fix?: true;
  readonly json?: true;
}

export function registerHostCommands(program: Command, context: CliContext): void {
  program
    .command('host')
    .description('look at the host that an agent is to run on')
    .command('check')
    .description('find what stands in the way of an agent here, and say what mends it (needs no agent)')
    .option('-c, --config <file>', "the agent's configuration; without it defaults, and no pod ranges")
    .option('--fix', 'do what is safe: settings, modules, and files for NetworkManager and systemd-networkd')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExit code: 0 if nothing stands in the way, 1 otherwise. Warnings and notes do not.',
    )
    .action(async (options: CheckOptions) => {
      const config = await readConfig(options.config);
      const { checkHost } = await import('../../host-check/check-host.ts');
      const { gatherFacts } = await import('../../host-check/gather.ts');
      let findings = checkHost(await gatherFacts(config), config);
      let fixes: FixResult[] = [];
      if (options.fix) {
        const { fixFindings } = await import('../../host-check/fix.ts');
        fixes = await fixFindings(findings);
        // What is left, as the host is now.
        if (fixes.length > 0) findings = checkHost(await gatherFacts(config), config);
      }
      const ok = !findings.some(({ severity }) => severity === 'error');
      const { io } = context;
      if (options.json) printJson(context, { ok, fixes, findings });
      else io.stdout.write(renderHostCheck(findings, fixes, painter(io.stdout, io.env)));
      context.exitCode = ok ? 0 : EXIT_FAILURE;
    });
}

async function readConfig(file: string | undefined): Promise<Config> {
  const { loadConfig, parseConfig } = await import('../../config/load.ts');
  if (file !== undefined) return loadConfig(file);
  const defaults = parseConfig('cluster: {podCidrs: [10.42.0.0/16]}', 'defaults', 'host');
  return { ...defaults, cluster: { ...defaults.cluster, podCidrs: [] } };
}

export function renderHostCheck(
  findings: readonly Finding[],
  fixes: readonly FixResult[],
  paint: Paint,
): string {
  const lines: string[] = [];
  for (const { did, failure } of fixes) {
    lines.push(...did.map((what) => `${paint('fixed', 'green')}: ${what}`));
    if (failure !== undefined) lines.push(`${paint('not fixed', 'red')}: ${failure}`);
  }
  for (const { severity, problem, commands, fix } of findings) {
    lines.push(`${paint(severity, COLOURS[severity])}: ${problem}`);
    lines.push(...commands.map((command) => `    ${command}`));
    if (fix !== undefined) lines.push('    (or warren host check --fix)');
  }
  const errors = findings.filter(({ severity }) => severity === 'error').length;
  lines.push(
    errors === 0
      ? 'nothing stands in the way of an agent on this host'
      : `${errors} ${errors === 1 ? 'thing stands' : 'things stand'} in the way of an agent on this host`,
  );
  return `${lines.join('\n')}\n`;
}
