/** What checks answer, and so what `warren check --json` prints; the promises are those of reports.ts. */
import type { UnreachableNode } from '../rpc/targets.ts';

export interface CheckReport {
  readonly node: string;
  readonly ok: boolean;
  /** Why this node itself cannot be reached as it should, such as that it has no subnet. */
  readonly problems: readonly string[];
  /** Nodes that could not be asked for their pods, with the reason. */
  readonly unreachable: readonly { readonly node: string; readonly reason: string }[];
  readonly results: readonly CheckResult[];
}

export interface CheckResult {
  /** `node` or a pod of this node. */
  readonly from: string;
  readonly toNode: string;
  /** `null`: the node itself. */
  readonly toPod: string | null;
  readonly address: string;
  readonly ok: boolean;
  /** Round trip, milliseconds; null when it failed. */
  readonly rttMs: number | null;
  /** Where and why it failed, as `warren trace` says; absent where that was not tried. */
  readonly trace?: { readonly cause: string; readonly line: string };
}

/** What of every check a result is about. */
interface CheckedPair {
  /** `node` or a pod of this node. */
  readonly from: string;
  readonly toNode: string;
  /** `null`: the node itself. */
  readonly toPod: string | null;
  readonly address: string;
}

/** What checks besides the pings say: `results` of one kind. */
interface PairsReport<R> extends Omit<CheckReport, 'results'> {
  readonly results: readonly R[];
}

export interface MtuResult extends CheckedPair {
  /** Bytes of the longest inner packet that arrives whole, up to this node's MTU; null: not even the least does. */
  readonly mtu: number | null;
  /** What the agent goes by; null: it does not know that node. */
  readonly expected: number | null;
  /** At least what the agent goes by. */
  readonly ok: boolean;
}
export type MtuReport = PairsReport<MtuResult>;

export interface PerfResult extends CheckedPair {
  readonly ok: boolean;
  /** Of one TCP connection, from here to there; null if it failed. */
  readonly bitsPerSecond: number | null;
  /** Of a byte there and back over TCP: the median, and the longest. */
  readonly rttMs: number | null;
  readonly worstRttMs: number | null;
  /** Present if it failed. */
  readonly error?: string;
}
export type PerfReport = PairsReport<PerfResult>;

/** A time without an answer. */
export interface Gap {
  /** When the last answer before it came, seconds after the start. */
  readonly atSeconds: number;
  readonly durationMs: number;
  /** The connection was gone, and another one took its place. */
  readonly brokeOff: boolean;
}

export interface DisruptResult extends CheckedPair {
  /** The first hundred. */
  readonly gaps: readonly Gap[];
  readonly gapCount: number;
  /** 0: there was none. */
  readonly longestGapMs: number;
  /** Connections that were gone. */
  readonly broken: number;
}
export interface DisruptReport extends PairsReport<DisruptResult> {
  /** For how long they were held. */
  readonly seconds: number;
}

/** Who answers a check's connections; this node first. */
export interface RespondersReport {
  readonly nodes: readonly {
    readonly node: string;
    /** What a connection begins with, hexadecimal. */
    readonly token: string;
    readonly endpoints: readonly {
      readonly pod: string | null;
      readonly address: string;
      readonly port: number;
    }[];
  }[];
  readonly unreachable: readonly UnreachableNode[];
}
