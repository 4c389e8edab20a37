/** WireGuard interfaces of several implementations in network namespaces, set up with `wg` as a person would. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { wireguardSocket } from '../../src/bench/wireguard-control.ts';
import { builtFile } from '../../src/package.ts';
import { type ThrowawayNetns, throwawayNetns } from './throwaway-netns.ts';

export type Implementation = 'warren' | 'wireguard-go';

/** What is run in place of wireguard-go. */
export const WARREN_WIREGUARD = builtFile('bin/warren-wireguard');
const POLL_MS = 20;

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A network namespace, and what is run there. */
export class Namespace {
  readonly netns: ThrowawayNetns = throwawayNetns();

  /** Its standard output. Throws with all that was said if it fails. */
  async run(...argv: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.exec(argv);
    if (code !== 0) throw new Error(`\`${argv.join(' ')}\` ended with code ${code}:\n${stdout}\n${stderr}`);
    return stdout;
  }

  exec(argv: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
    return new Promise((resolve) => {
      const options = { encoding: 'utf8', env: { ...process.env, ...env } } as const;
      execFile('nsenter', this.#inside(argv), options, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, stdout, stderr });
      });
    });
  }

  /** Commands, a line each. */
  async all(...lines: readonly string[]): Promise<void> {
    for (const line of lines) await this.run(...line.split(' '));
  }

  async pings(to: string, ...options: readonly string[]): Promise<boolean> {
    const { code } = await this.exec(['ping', '-c', '1', '-W', '1', ...options, to]);
    return code === 0;
  }

  /** Bits per second that were sent. Throws if it does not end well. */
  async iperf(server: Namespace, address: string, ...options: readonly string[]): Promise<void> {
    const child = spawn('nsenter', server.#inside(['iperf3', '-s', '-1', '--forceflush', '-B', address]), {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = once(child, 'exit');
    for await (const line of createInterface({ input: child.stdout }))
      if (line.includes('Server listening')) break;
    child.stdout.resume();
    try {
      await this.run('iperf3', '-Z', ...options, '-c', address);
    } finally {
      child.kill();
      await ended;
    }
  }

  setSysctl(name: string, value: string): Promise<string> {
    return this.run('sh', '-c', `echo ${value} > /proc/sys/${name.replaceAll('.', '/')}`);
  }

  remove(): void {
    this.netns.remove();
  }

  #inside(argv: readonly string[]): string[] {
    return [`--net=${this.netns.path}`, '--', ...argv];
  }
}

/** Makes an interface; `wg` can configure it when this returns. */
export async function startDevice(by: Implementation, where: Namespace, device: string): Promise<void> {
  const program = by === 'warren' ? WARREN_WIREGUARD : 'wireguard-go';
  rmSync(wireguardSocket(device), { force: true });
  const { code, stderr } = await where.exec([program, device], {
    WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD: '1',
  });
  if (code !== 0) throw new Error(`${program} ${device} ended with code ${code}: ${stderr}`);
  if (by !== 'wireguard-go') return;
  // It returns before that, and its device is lost where it is moved too early. `wg` removes a socket that nobody listens on,
  // which this one is for a moment, and wireguard-go ends then: so `wg` asks once somebody does.
  await until(() => isListening(wireguardSocket(device)));
  await until(async () => (await where.exec(['wg', 'show', device])).code === 0);
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Removes an interface; its process is at its end when this returns. */
export async function removeDevice(where: Namespace, device: string): Promise<void> {
  await where.run('ip', 'link', 'delete', device);
  await until(() => !existsSync(wireguardSocket(device)));
}

export async function until(isSo: () => boolean | Promise<boolean>, limitMs = 10_000): Promise<void> {
  for (let leftMs = limitMs; !(await isSo()); leftMs -= POLL_MS) {
    if (leftMs <= 0) throw new Error(`not so after ${limitMs} ms: ${isSo}`);
    await sleep(POLL_MS);
  }
}

/** Files with secrets for `wg`, which takes keys from files alone. */
export class KeyFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'warren-wg-'));
  #files = 0;

  file(text: string): string {
    const file = join(this.path, `${this.#files++}`);
    writeFileSync(file, `${text}\n`, { mode: 0o600 });
    return file;
  }

  /** A program that is run under that name. */
  program(name: string, script: string): string {
    const file = join(this.path, name);
    writeFileSync(file, script);
    chmodSync(file, 0o755);
    return file;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
