/**
 * Stops one thread of a process: signals stop them all. A freezer of cgroup version 1 holds threads as well as processes,
 * and a thread that it holds does not even die.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';

const FREEZER = '/sys/fs/cgroup/freezer';

/** Why there is none; undefined if there is one. */
export const NO_FREEZER: string | undefined = freezerProblem();

/** The thread of `pid` with that name. */
export function threadOf(pid: number, name: string): number {
  const found = readdirSync(`/proc/${pid}/task`).filter(
    (tid) => readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8').trim() === name,
  );
  if (found.length !== 1) throw new Error(`process ${pid} has ${found.length} threads called ${name}`);
  return Number(found[0]);
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
    rmdirSync(this.#folder);
  }
}

function freezerProblem(): string | undefined {
  if (!existsSync(`${FREEZER}/tasks`)) return 'there is no freezer of cgroup version 1';
  const probe = `${FREEZER}/warren-test-probe-${process.pid}`;
  try {
    mkdirSync(probe);
    rmdirSync(probe);
    return undefined;
  } catch {
    return 'needs to make a freezer of cgroup version 1';
  }
}
