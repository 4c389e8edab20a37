/** What a check of the host may say: a sentence, how bad it is, and what mends it. */
import type { WantedSysctl } from '../host/forwarding.ts';

/** An error stands in the agent's way, a warning will hurt some day, a note is good to know. */
export type Severity = 'error' | 'warning' | 'note';

/** What `--fix` may do by itself: nothing here takes anything away from anybody. */
export type Fix =
  | { readonly type: 'sysctls'; readonly settings: readonly WantedSysctl[] }
  | { readonly type: 'module'; readonly module: string }
  | {
      readonly type: 'file';
      readonly path: string;
      readonly text: string;
      /** Has the program that reads the file read it; undefined if nothing does. */
      readonly reload: readonly string[] | undefined;
    };

export interface Finding {
  /** What was looked at, the same in every version, such as `port.gossip`. */
  readonly check: string;
  readonly severity: Severity;
  readonly problem: string;
  /** To be typed by whoever mends it; empty where no command can. */
  readonly commands: readonly string[];
  readonly fix?: Fix;
}
