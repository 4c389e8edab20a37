/** What the control thread and a capture's thread say to each other. */
import type { RecorderOptions } from './recorder.ts';

export interface CaptureSettings extends RecorderOptions {
  /** Whether all of what the tunnel sends is sealed. */
  readonly isSealed: boolean;
  /** UDP ports of the tunnel's ends. */
  readonly tunnelPorts: readonly number[];
  /** A DropRing of each packet path thread. */
  readonly rings: readonly SharedArrayBuffer[];
  /** Int32, see CONTROL. */
  readonly control: SharedArrayBuffer;
}

/** Places in `control`: set to end the thread; bytes that were handed over and not taken yet. */
export const CONTROL = { stop: 0, untaken: 1 } as const;

export type FromCapture =
  /** Everything up to `untilUs` has been handed over. */
  | { readonly kind: 'packets'; readonly untilUs: number; readonly blocks: Uint8Array }
  | { readonly kind: 'failed'; readonly message: string; readonly hint: string | undefined };
