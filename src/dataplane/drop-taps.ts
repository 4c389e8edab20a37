/** Who gets copies of what the packet path drops: each capture has a ring of its own with each thread. */
import { DropRing } from '../datapath/drop-ring.ts';
import { MAX_DROP_RINGS } from '../datapath/drop-tap.ts';
import { WarrenError } from '../errors.ts';
import type { DropTapHandle, DropTaps } from './dataplane.ts';

export class OpenDropTaps implements DropTaps {
  readonly #workers: number;
  readonly #onChange: (rings: readonly (readonly SharedArrayBuffer[])[]) => void;
  /** MAX_DROP_RINGS at most. */
  readonly #open = new Set<DropTapHandle>();

  /** `onChange`: by worker, the rings of all that are open. */
  constructor(workers: number, onChange: (rings: readonly (readonly SharedArrayBuffer[])[]) => void) {
    this.#workers = workers;
    this.#onChange = onChange;
  }

  open(): DropTapHandle {
    if (this.#open.size >= MAX_DROP_RINGS) {
      throw new WarrenError('CAPTURE_LIMIT', `${MAX_DROP_RINGS} captures run on this node already`, {
        hint: 'End one, or wait until it is over.',
      });
    }
    const handle: DropTapHandle = {
      rings: Array.from({ length: this.#workers }, () => new DropRing().shared),
      close: () => {
        if (this.#open.delete(handle)) this.#tell();
      },
    };
    this.#open.add(handle);
    this.#tell();
    return handle;
  }

  #tell(): void {
    const open = [...this.#open];
    this.#onChange(
      Array.from({ length: this.#workers }, (_, worker) => open.map(({ rings }) => rings[worker]!)),
    );
  }
}
