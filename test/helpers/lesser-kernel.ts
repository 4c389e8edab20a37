/** Programs on a kernel that lacks something: `lesser-kernel.c`, compiled. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('lesser-kernel.c', import.meta.url));

/** What the kernel is to lack; lesser-kernel.c says what each word does. */
export type Lacking =
  | 'uso'
  | 'tso'
  | 'udp-gro'
  | 'udp-segment'
  | 'segment-send'
  | 'tcp-superpacket'
  | 'udp-superpacket';

export class LesserKernel {
  readonly #library: string;

  /** Compiles it into `folder`. */
  constructor(folder: string) {
    this.#library = join(folder, 'lesser-kernel.so');
    execFileSync('gcc', ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', this.#library, SOURCE]);
  }

  /** What `start` starts runs on such a kernel, as does whatever that starts. */
  run(lacking: readonly Lacking[], start: () => void): void {
    const before = { LD_PRELOAD: process.env.LD_PRELOAD, LESSER_KERNEL: process.env.LESSER_KERNEL };
    process.env.LD_PRELOAD = this.#library;
    process.env.LESSER_KERNEL = lacking.join(' ');
    try {
      start();
    } finally {
      for (const [name, value] of Object.entries(before)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  }
}
