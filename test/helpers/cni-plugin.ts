/** A runtime as far as networks go: calls CNI plugins as processes, as libcni does, in a node's network namespace. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { LabNode } from '../../src/lab/node.ts';
import { packageFile } from '../../src/package.ts';

export const PLUGIN = packageFile('dist/bin/warren-cni.cjs');
/** Where Debian has those of containernetworking-plugins. */
export const REFERENCE_PLUGINS = '/usr/lib/cni';

export interface PluginAnswer {
  readonly exitCode: number | null;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it as it likes
  readonly json: any;
}

export interface PluginCall {
  readonly containerId: string;
  readonly netns?: string | undefined;
  readonly interfaceName?: string;
  readonly network?: string;
  readonly version?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Default: ours. */
  readonly plugin?: string;
  /** A program, with its arguments, that starts the plugin. */
  readonly under?: readonly string[];
}

/** Starts a plugin; `answer` is what it has said by its end. */
export function startPlugin(
  node: LabNode,
  command: string,
  call: PluginCall,
): { readonly child: ChildProcess; readonly answer: Promise<PluginAnswer> } {
  const { containerId, netns, interfaceName = 'eth0', network = 'warren', version = '1.1.0' } = call;
  const config = {
    ...{ cniVersion: version, name: network, socket: node.socket },
    ...{ queue: join(node.folder, 'state', 'cni-deletes'), ...call.config },
  };
  const { plugin, under = [] } = call;
  const argv = [...under, ...(plugin === undefined ? [process.execPath, PLUGIN] : [plugin])];
  const child = spawn('nsenter', [`--net=${node.netns}`, '--', ...argv], {
    env: {
      PATH: process.env.PATH ?? '',
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: containerId, CNI_IFNAME: interfaceName },
      ...(netns !== undefined && { CNI_NETNS: netns }),
      CNI_PATH: REFERENCE_PLUGINS,
      ...call.env,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const answer = new Promise<PluginAnswer>((resolve, reject) => {
    let text = '';
    child.stdout!.on('data', (chunk) => (text += chunk));
    child.on('error', reject);
    child.on('close', (exitCode) =>
      resolve({ exitCode, text, json: text === '' ? undefined : parsed(text) }),
    );
  });
  // One that is killed does not read it.
  child.stdin!.on('error', () => {});
  child.stdin!.end(JSON.stringify(config));
  return { child, answer };
}

export function callPlugin(node: LabNode, command: string, call: PluginCall): Promise<PluginAnswer> {
  return startPlugin(node, command, call).answer;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** All that a node's namespace has of interfaces, addresses, routes and rules, in an order of its own. */
export function hostState(netns: string): string[] {
  const inNode = (...argv: string[]) =>
    execFileSync('nsenter', [`--net=${netns}`, '--', ...argv], { encoding: 'utf8', stdio: 'pipe' }).split(
      '\n',
    );
  return [
    ...inNode('ip', '-oneline', 'link', 'show').map((line) =>
      line
        .replace(/^\d+: /, '')
        .replace(/@.*/, '')
        // What the kernel finds out of an other end a moment after it is there.
        .replace(/state \w+|NO-CARRIER,/g, ''),
    ),
    ...inNode('ip', '-oneline', 'address', 'show').map((line) =>
      line.replace(/^\d+: /, '').replace(/valid_lft.*/, ''),
    ),
    ...inNode('ip', 'route', 'show', 'table', 'all'),
    ...inNode('ip', '-6', 'route', 'show', 'table', 'all').map((line) => line.replace(/expires \S+/, '')),
    ...inNode('nft', 'list', 'ruleset').map((line) =>
      line.replace(/counter packets \d+ bytes \d+/, 'counter'),
    ),
  ]
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .sort();
}
