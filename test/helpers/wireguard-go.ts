/** wireguard-go in a network namespace, set up over its control socket. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { configureWireguard, wireguardSocket } from '../../src/bench/wireguard-control.ts';
import type { ThrowawayNetns } from './throwaway-netns.ts';

export class WireguardGo {
  readonly #device: string;
  readonly #process: ChildProcess;

  private constructor(device: string, process: ChildProcess) {
    this.#device = device;
    this.#process = process;
  }

  /** Ready when it returns. The name must be one that no other on this machine has: its control socket has it, too. */
  static async start(netns: Pick<ThrowawayNetns, 'path'>, device: string): Promise<WireguardGo> {
    rmSync(wireguardSocket(device), { force: true });
    const child = spawn('nsenter', [`--net=${netns.path}`, '--', 'wireguard-go', '--foreground', device], {
      env: { ...process.env, LOG_LEVEL: 'verbose', WG_PROCESS_FOREGROUND: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const lines = createInterface({ input: child.stdout });
    child.stderr.resume();
    for await (const line of lines) if (line.includes('UAPI listener started')) break;
    child.stdout.resume();
    if (child.exitCode !== null) throw new Error(`wireguard-go ended with code ${child.exitCode}`);
    return new WireguardGo(device, child);
  }

  /** Lines of its configuration protocol. */
  configure(...lines: readonly string[]): Promise<void> {
    return configureWireguard(wireguardSocket(this.#device), lines);
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
  }
}
