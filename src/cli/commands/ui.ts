/** `warren ui`: opens the web page of the agent, or says how to get to it from where there is a browser. */
import { spawn } from 'node:child_process';
import { chownSync, mkdtempSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { WarrenError } from '../../errors.ts';
import type { PageReport } from '../../readmodel/reports.ts';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, printJson, type SocketOption, withSocket } from '../agent-option.ts';

interface UiOptions extends SocketOption {
  readonly open: boolean;
  readonly json?: true;
}

export function registerUiCommand(program: Command, context: CliContext): void {
  withSocket(
    program
      .command('ui')
      .description("open the agent's web page, or say how to get there")
      .option('--no-open', 'only print where it is')
      .option('--json', 'print JSON')
      .addHelpText(
        'after',
        '\nThe link has a token that shows names, until the agent ends. Without it the page has pseudonyms, since other\n' +
          'users of this host can open it too.',
      ),
  ).action(async (options: UiOptions) => {
    const { io } = context;
    const page = await agentClient(context, options).page();
    if (options.json) return printJson(context, page);
    const link = linkOf(page);
    if (options.open && hasDisplay(io.env)) {
      openBrowser(fileThatLeadsTo(link, io.env), io.env);
      io.stdout.write('A browser opens. If it does not: ');
    }
    io.stdout.write(`${link}\n`);
    const forward = forwardText(page, io.env);
    if (forward !== undefined) io.stdout.write(`${forward}\n`);
  });
}

/** Throws PAGE_NONE. */
export function linkOf({ url, reason, token }: PageReport): string {
  if (url === null) {
    throw new WarrenError('PAGE_NONE', `this agent has no web page: ${reason ?? 'it does not say why'}`, {
      hint: 'docs/web-page.md says what it needs; `api` in the configuration is where.',
    });
  }
  return token === undefined ? url : `${url}#token=${token}`;
}

/** How to come to a page on the loopback address from another machine; undefined: there is no need. */
export function forwardText({ url }: PageReport, env: NodeJS.ProcessEnv): string | undefined {
  if (url === null || hasDisplay(env)) return undefined;
  const { hostname: host, port } = new URL(url);
  if (!['127.0.0.1', 'localhost', '[::1]'].includes(host)) return undefined;
  // As the client has reached this host, where it came by SSH.
  const [, , address] = (env.SSH_CONNECTION ?? '').split(' ');
  const target = address === undefined || address === '' ? hostname() : address;
  return `From another machine: ssh -L ${port}:${host}:${port} ${env.SUDO_USER ?? env.USER ?? 'root'}@${target}, and open the link there.`;
}

function hasDisplay(env: NodeJS.ProcessEnv): boolean {
  return Boolean(env.DISPLAY || env.WAYLAND_DISPLAY) && !env.SSH_CONNECTION;
}

/**
 * A page that goes on to `link`. The arguments of a program are for everybody on the host to see, and the link has a
 * token: so the browser is given a file that only its user can read.
 */
export function fileThatLeadsTo(link: string, env: NodeJS.ProcessEnv): string {
  const folder = mkdtempSync(join(tmpdir(), 'warren-ui-'));
  const file = join(folder, 'page.html');
  const html = `<!doctype html><meta http-equiv="refresh" content="0;url=${link.replaceAll('"', '%22')}"><a href="${link}">warren</a>\n`;
  writeFileSync(file, html, { mode: 0o600 });
  const [uid, gid] = [Number(env.SUDO_UID), Number(env.SUDO_GID)];
  if (process.getuid?.() === 0 && uid > 0) {
    chownSync(file, uid, gid);
    chownSync(folder, uid, gid);
  }
  return file;
}

/** A browser is no program for root: with sudo it is started as who has called that. */
function openBrowser(file: string, env: NodeJS.ProcessEnv): void {
  const isSudo = process.getuid?.() === 0 && env.SUDO_USER !== undefined;
  const argv = isSudo ? ['runuser', '-u', env.SUDO_USER!, '--', 'xdg-open', file] : ['xdg-open', file];
  const child = spawn(argv[0]!, argv.slice(1), { stdio: 'ignore', detached: true, env });
  // The link is printed in any case.
  child.on('error', () => {});
  child.unref();
}
