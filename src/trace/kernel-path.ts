/** From what nftables told of some packets to how far each kind of them came. Pure. */
import type { TraceMessage } from '../netlink/nf-trace.ts';
import type { FlowMatch } from './flow-match.ts';
import { HOOKS, type Hook, type KernelPath, type RuleDrop } from './model.ts';
import { isOfTunnel, type Tunnel } from './outer-match.ts';
import { checkpointOf } from './trace-rules.ts';

export type PathKind = 'inner' | 'outer';

/** Numbers of packets that are remembered. */
const MAX_PACKETS = 1024;

export interface UnreadDrop extends Omit<RuleDrop, 'rule'> {
  readonly handle: number | undefined;
}

/** Chains that are remembered of a packet. */
const MAX_CHAINS = 8;

/** All packets of one kind are taken together: one that was dropped counts, else how far any came. */
interface Seen {
  readonly reached: Set<Hook>;
  readonly passed: Set<Hook>;
  inIndex: number;
  outIndex: number;
  drop: UnreadDrop | undefined;
  /** Of other tables than the trace's own, `TABLE CHAIN`; MAX_CHAINS at most. */
  chains: string[];
}

export class KernelPaths {
  readonly #table: string;
  readonly #flow: FlowMatch;
  readonly #tunnel: Tunnel | undefined;
  /** By the packet's number; MAX_PACKETS at most. */
  readonly #kinds = new Map<number, PathKind>();
  readonly #seen: Readonly<Record<PathKind, Seen>> = { inner: nothing(), outer: nothing() };

  constructor(table: string, flow: FlowMatch, tunnel: Tunnel | undefined) {
    this.#table = table;
    this.#flow = flow;
    this.#tunnel = tunnel;
  }

  add(message: TraceMessage): void {
    const kind = this.#kindOf(message);
    if (kind === undefined) return;
    const seen = this.#seen[kind];
    const { table, chain, family, isPolicy, handle, inIndex, outIndex } = message;
    if (inIndex !== 0) seen.inIndex = inIndex;
    if (outIndex !== 0) seen.outIndex = outIndex;
    const checkpoint = table === this.#table ? checkpointOf(chain) : undefined;
    if (checkpoint !== undefined) (checkpoint.isEnd ? seen.passed : seen.reached).add(checkpoint.hook);
    else {
      const via = seen.chains
        .filter((one) => one.startsWith(`${table} `))
        .map((one) => one.slice(table.length + 1));
      if (message.drops)
        seen.drop ??= { family, table, chain, isPolicy, handle, ...(via.length > 0 && { via }) };
      seen.chains = [...seen.chains.filter((one) => one !== `${table} ${chain}`), `${table} ${chain}`].slice(
        -MAX_CHAINS,
      );
    }
  }

  /** A rule has dropped it, or the routing: between hooks nothing waits but there. */
  get isStopped(): boolean {
    const { inner, outer } = this.#seen;
    const isInRouting =
      inner.passed.has('prerouting') && !inner.reached.has('forward') && !inner.reached.has('input');
    return inner.drop !== undefined || outer.drop !== undefined || isInRouting;
  }

  dropOf(kind: PathKind): UnreadDrop | undefined {
    return this.#seen[kind].drop;
  }

  /** Null: none was seen. `rule`: the text of the one that dropped it. */
  path(
    kind: PathKind,
    interfaceName: (index: number) => string | undefined,
    rule?: string,
  ): KernelPath | null {
    const { reached, passed, drop, inIndex, outIndex } = this.#seen[kind];
    if (reached.size === 0) return null;
    const [inInterface, outInterface] = [inIndex, outIndex].map(interfaceName);
    return {
      reached: HOOKS.filter((hook) => reached.has(hook)),
      passed: HOOKS.filter((hook) => passed.has(hook)),
      ...(inInterface !== undefined && { inInterface }),
      ...(outInterface !== undefined && { outInterface }),
      ...(drop && { drop: withText(drop, rule) }),
    };
  }

  #kindOf({ id, network, transport }: TraceMessage): PathKind | undefined {
    if (network === undefined) return this.#kinds.get(id);
    // A number may come round again with another packet: the headers tell what it is.
    this.#kinds.delete(id);
    const headers = Buffer.concat([network, transport ?? new Uint8Array()]);
    const matched = this.#flow.match(headers);
    const isOuter = matched === undefined && this.#tunnel !== undefined && isOfTunnel(headers, this.#tunnel);
    const kind = matched?.what === 'packet' ? 'inner' : isOuter ? 'outer' : undefined;
    if (kind !== undefined && this.#kinds.size < MAX_PACKETS) this.#kinds.set(id, kind);
    return kind;
  }
}

function nothing(): Seen {
  return { reached: new Set(), passed: new Set(), inIndex: 0, outIndex: 0, drop: undefined, chains: [] };
}

function withText({ handle: _, ...drop }: UnreadDrop, rule: string | undefined): RuleDrop {
  return rule === undefined || drop.isPolicy ? drop : { ...drop, rule };
}
