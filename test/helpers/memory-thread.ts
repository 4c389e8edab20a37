/** The thread of a packet path in memory: does at once what it is asked, unless it is stuck; then, once it is free again. */
import type { Beating } from '../../src/dataplane/heartbeat.ts';

export class MemoryThread implements Beating {
  /** Whether it is only running in circles, and ends when it is told to by force. */
  canBeKilled = false;
  #turns = 0;
  #isStuck = false;
  #waiting: (() => void)[] = [];

  turns(): number {
    return this.#turns;
  }

  wake(): void {
    void this.run(() => {});
  }

  /** Resolves once it has been done. */
  run(work: () => void): Promise<void> {
    return new Promise((resolve) => {
      const turn = () => {
        this.#turns++;
        work();
        resolve();
      };
      if (this.#isStuck) this.#waiting.push(turn);
      else turn();
    });
  }

  stick(): void {
    this.#isStuck = true;
  }

  free(): void {
    this.#isStuck = false;
    for (const turn of this.#waiting.splice(0)) turn();
  }

  kill(): void {
    if (this.canBeKilled) this.free();
  }
}
