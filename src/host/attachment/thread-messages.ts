/** What the control thread and the namespace thread say to each other. */
import type { AttachmentLink } from '../../attachment/link.ts';

export interface ThreadSettings {
  /** Path of the network namespace that the node lives in; undefined: this process's own. */
  readonly netns: string | undefined;
  /** See journal.ts. */
  readonly journal: SharedArrayBuffer;
}

/** How far the check of sources is to be cared for. */
export const SOURCE_CHECK = {
  /** It does not work here. */
  off: 0,
  /** Its table is there, or was. */
  on: 1,
  /** Its table is made first, or made as this version has it. */
  make: 2,
} as const;
export type SourceCheckMode = (typeof SOURCE_CHECK)[keyof typeof SOURCE_CHECK];

/** The operations, each with what it takes and gives. */
export interface Operations {
  ensure(link: AttachmentLink, mode: SourceCheckMode): SourceCheckState;
  remove(hostInterface: string, mode: SourceCheckMode): void;
  /** Places in `links`. */
  findDamaged(links: readonly AttachmentLink[], mode: SourceCheckMode): number[];
  findInnerDamage(link: AttachmentLink): string | undefined;
  addNamespace(name: string): void;
  removeNamespace(name: string): void;
  /** Packets with a foreign source, dropped since the table was made. */
  countDropped(): number;
  /** Removes the table of the check, if nothing uses it any more. */
  removeTable(): void;
  /** The last one: closes what the thread holds open. */
  close(): void;
}
export type OperationName = keyof Operations;

export interface SourceCheckState {
  /** Why there is none; undefined: it works. */
  readonly problem: string | undefined;
}

export interface ToThread {
  readonly id: number;
  readonly name: OperationName;
  readonly args: readonly unknown[];
}

/** An error in a form that keeps its code and hint from thread to thread. */
export interface ErrorParts {
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
}

export type FromThread =
  /** For the log. */
  | { readonly warning: string }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: ErrorParts };
