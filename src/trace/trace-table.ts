/**
 * The kernel's word on the flow's packets: a table of nftables that is there only while a trace runs, and a listener that hears what
 * comes of it. The table belongs to a process of nft that ends with the agent, however the agent ends, and the kernel removes it
 * then; where kernel or nft do not know such tables, what a trace that was killed has left is removed by the next one.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { errorMessage } from '../errors.ts';
import { HostCommandError, runCommand, SBIN } from '../host/command.ts';
import { NFNLGRP_NFTRACE } from '../netlink/constants.ts';
import { decodeMessages } from '../netlink/message.ts';
import { decodeTrace, type TraceMessage } from '../netlink/nf-trace.ts';
import { NETLINK_NETFILTER } from '../sys/constants.ts';
import { NetlinkListener } from '../sys/netlink-listener.ts';
import type { UnreadDrop } from './kernel-path.ts';
import { TRACE_TABLE_PREFIX, type TraceRules, traceScript } from './trace-rules.ts';

const APPEAR_MS = 3000;
const LOOK_MS = 15;
/** Messages that are taken at once. */
const MAX_MESSAGES = 2000;

/** Tables of this process's traces, which are bounded. */
const running = new Set<string>();

export class TraceTable {
  readonly #table: string;
  readonly #listener: NetlinkListener;
  readonly #owner: ChildProcess | undefined;

  private constructor(table: string, listener: NetlinkListener, owner: ChildProcess | undefined) {
    this.#table = table;
    this.#listener = listener;
    this.#owner = owner;
  }

  /** In this process's network namespace. Throws TOOL_MISSING, HostCommandError, SysError. */
  static async make(rules: TraceRules): Promise<TraceTable> {
    const listener = new NetlinkListener(NETLINK_NETFILTER, NFNLGRP_NFTRACE);
    running.add(rules.table);
    try {
      await removeLeft();
      const owner = await owned(rules);
      if (owner === undefined) await runCommand(['nft', '-f', '-'], { stdin: traceScript(rules, false) });
      return new TraceTable(rules.table, listener, owner);
    } catch (error) {
      listener.close();
      running.delete(rules.table);
      throw error;
    }
  }

  /** Hands over what has come since the last time. */
  drain(take: (message: TraceMessage) => void): void {
    for (let i = 0; i < MAX_MESSAGES; i++) {
      const datagram = this.#listener.receive();
      if (datagram === undefined) return;
      for (const message of decodeMessages(datagram)) {
        const trace = decodeTrace(message);
        if (trace !== undefined) take(trace);
      }
    }
  }

  async close(): Promise<void> {
    this.#listener.close();
    if (this.#owner === undefined) await removeTable(this.#table);
    else await ended(this.#owner);
    running.delete(this.#table);
  }
}

/** Undefined: nft or the kernel has no tables with an owner. */
async function owned(rules: TraceRules): Promise<ChildProcess | undefined> {
  const child = spawn('nft', ['-i'], {
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { ...process.env, PATH: `${process.env.PATH ?? ''}:${SBIN}`, LC_ALL: 'C' },
  });
  let isGone = false;
  const gone = () => {
    isGone = true;
  };
  child.on('error', gone);
  child.on('exit', gone);
  child.stdin.on('error', gone);
  child.stdin.write(traceScript(rules, true));
  const giveUpMs = performance.now() + APPEAR_MS;
  while (!isGone && performance.now() < giveUpMs) {
    await delay(LOOK_MS);
    // The last thing that the script makes.
    if ((await marksIn(rules.table)) === (rules.tunnel === undefined ? 1 : 2)) return child;
  }
  await ended(child);
  return undefined;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.stdin?.end();
  child.kill('SIGKILL');
  await exit;
}

async function marksIn(table: string): Promise<number> {
  try {
    const listed = await runCommand(['nft', 'list', 'chain', 'inet', table, 'output_begin']);
    return listed.split('nftrace set 1').length - 1;
  } catch (error) {
    if (error instanceof HostCommandError) return 0;
    throw error;
  }
}

/** What traces that were killed have left; a table that has an owner stays. */
async function removeLeft(): Promise<void> {
  const tables = await runCommand(['nft', 'list', 'tables', 'inet']);
  for (const [, table] of tables.matchAll(/^table inet (\S+)$/gm)) {
    if (table!.startsWith(TRACE_TABLE_PREFIX) && !running.has(table!)) await removeTable(table!);
  }
}

async function removeTable(table: string): Promise<void> {
  await runCommand(['nft', 'delete', 'table', 'inet', table]).catch((error: unknown) => {
    if (!(error instanceof HostCommandError)) throw error;
  });
}

/** The text of a rule, as nft writes it; undefined: it is gone, or nft does not say. */
export async function ruleText({ family, table, chain, handle }: UnreadDrop): Promise<string | undefined> {
  if (handle === undefined) return undefined;
  try {
    const listed = await runCommand(['nft', '-a', 'list', 'chain', family, table, chain]);
    const line = listed.split('\n').find((one) => one.endsWith(`# handle ${handle}`));
    return line
      ?.replace(/\s*# handle \d+$/, '')
      .replace(/counter packets \d+ bytes \d+ /, '')
      .trim();
  } catch (error) {
    if (error instanceof HostCommandError) return undefined;
    throw new Error(`reading a rule: ${errorMessage(error)}`, { cause: error });
  }
}
