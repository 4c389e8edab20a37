/**
 * Stops one thread of a process: signals stop them all. A freezer of cgroup version 1 holds threads as well as processes,
 * and a thread that it holds does not even die.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const FREEZER = '/sys/fs/cgroup/freezer';
/** A thread that has something to do right now does not block. */
const LOOK_MS = 5000;
const POLLING_LOOKS = 20;

/** Why there is none; undefined if there is one. */
export const NO_FREEZER: string | undefined = freezerProblem();

/** poll(2) by its number, or what the C library has in its place (asm/unistd.h). */
const POLL = { x64: '7', arm64: '73' }[process.arch as 'x64' | 'arm64'];

/**
 * The packet path thread of an agent that has one: the thread that blocks in poll(2), as soon as it does. Fails after
 * LOOK_MS.
 */
export async function packetThread(pid: number): Promise<number> {
  const giveUpMs = performance.now() + LOOK_MS;
  for (;;) {
    const blocked = readdirSync(`/proc/${pid}/task`).filter(
      (tid) => readFileSync(`/proc/${pid}/task/${tid}/syscall`, 'utf8').split(' ')[0] === POLL,
    );
    if (blocked.length === 1) return Number(blocked[0]);
    if (performance.now() > giveUpMs) throw new Error(`${blocked.length} threads of ${pid} block in poll`);
    await delay(20);
  }
}

/** All that block in poll(2) at some moment of a short while: of an agent that seals, also the one that makes sessions. */
export async function pollingThreads(pid: number): Promise<number[]> {
  const found = new Set<number>();
  for (let look = 0; look < POLLING_LOOKS || found.size === 0; look++) {
    if (look * 20 > LOOK_MS) throw new Error(`no thread of ${pid} blocks in poll`);
    for (const tid of readdirSync(`/proc/${pid}/task`)) {
      const [call] = readFileSync(`/proc/${pid}/task/${tid}/syscall`, 'utf8').split(' ');
      if (call === POLL) found.add(Number(tid));
    }
    await delay(20);
  }
  return [...found];
}

/** Frozen from now on, until it is thawed. */
export class FrozenThread {
  readonly #folder = `${FREEZER}/warren-test-${process.pid}-${randomBytes(3).toString('hex')}`;
  #isFrozen = false;

  constructor(tid: number) {
    mkdirSync(this.#folder);
    this.#isFrozen = true;
    try {
      writeFileSync(`${this.#folder}/tasks`, String(tid));
      writeFileSync(`${this.#folder}/freezer.state`, 'FROZEN');
    } catch (error) {
      this.thaw();
      throw error;
    }
  }

  /** Leaves nothing behind; may be called again. */
  thaw(): void {
    if (!this.#isFrozen) return;
    this.#isFrozen = false;
    writeFileSync(`${this.#folder}/freezer.state`, 'THAWED');
    for (const tid of readFileSync(`${this.#folder}/tasks`, 'utf8').split('\n').filter(Boolean)) {
      try {
        writeFileSync(`${FREEZER}/tasks`, tid);
      } catch {
        // It has ended meanwhile.
      }
    }
    removeSoon(this.#folder);
  }
}

/** A thread that ends is in its cgroup until the last moment. */
function removeSoon(folder: string): void {
  for (let triesLeft = 100; ; triesLeft--) {
    try {
      rmdirSync(folder);
      return;
    } catch (error) {
      if (triesLeft === 0) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

function freezerProblem(): string | undefined {
  if (!existsSync(`${FREEZER}/tasks`)) return 'there is no freezer of cgroup version 1';
  // Tests in other process namespaces may have the same process id.
  const probe = `${FREEZER}/warren-test-probe-${process.pid}-${randomBytes(3).toString('hex')}`;
  try {
    mkdirSync(probe);
    rmdirSync(probe);
    return undefined;
  } catch {
    return 'needs to make a freezer of cgroup version 1';
  }
}
