/**
 * From one rendered state to another as the text of one nftables transaction, with what changes and nothing else: a pod that
 * comes or goes is some elements of sets, and its own chains.
 *
 * The order matters within the transaction: what is referred to is there first and goes last.
 */
import { NFT_TABLE } from '../nft-table.ts';

export interface RenderedSet {
  /** A counter has no elements, and keeps its value. */
  readonly kind: 'set' | 'map' | 'counter';
  /** What stands between the braces of its declaration. */
  readonly type: string;
  readonly elements: ReadonlySet<string>;
}

export interface RenderedChain {
  /** Of a base chain; else empty. */
  readonly hook: string;
  readonly rules: readonly string[];
}

/** By name. A set or chain of one name always has the same type or hook. */
export interface RenderedState {
  readonly sets: ReadonlyMap<string, RenderedSet>;
  readonly chains: ReadonlyMap<string, RenderedChain>;
}

const TABLE = `inet ${NFT_TABLE}`;
const NOTHING: ReadonlySet<string> = new Set();

/** For `nft -f -`; empty if both are the same. */
export function difference(from: RenderedState, to: RenderedState): string {
  const sets = [...to.sets].map(([name, set]) => ({ name, set, before: from.sets.get(name) }));
  const chains = [...to.chains]
    .map(([name, chain]) => ({ name, chain, before: from.chains.get(name) }))
    .filter(({ chain, before }) => before === undefined || !isSame(before.rules, chain.rules));
  const oldSets = [...from.sets].filter(([name]) => !to.sets.has(name));
  const oldChains = [...from.chains.keys()].filter((name) => !to.chains.has(name));
  const isMap = ({ set }: { readonly set: RenderedSet }) => set.kind === 'map';
  const added = ({ name, set, before }: (typeof sets)[number]) =>
    elements('add', name, missing(set.elements, before?.elements ?? NOTHING));
  const removed = ({ name, set, before }: (typeof sets)[number]) =>
    elements('delete', name, missing(before?.elements ?? NOTHING, set.elements));

  const lines = [
    ...sets
      .filter(({ before }) => before === undefined)
      .map(({ name, set }) => `add ${set.kind} ${TABLE} ${name} { ${set.type} }`),
    ...chains
      .filter(({ before }) => before === undefined)
      .map(({ name, chain: { hook } }) => `add chain ${TABLE} ${name}${hook === '' ? '' : ` { ${hook} }`}`),
    ...sets.filter((one) => !isMap(one)).flatMap((one) => [...removed(one), ...added(one)]),
    ...chains.flatMap(({ name, chain }) => [
      `flush chain ${TABLE} ${name}`,
      ...chain.rules.map((rule) => `add rule ${TABLE} ${name} ${rule}`),
    ]),
    // The elements of maps are jumps to chains: they come after those, and go before.
    ...sets.filter(isMap).flatMap((one) => [...removed(one), ...added(one)]),
    ...oldChains.map((name) => `flush chain ${TABLE} ${name}`),
    ...oldSets.filter(([, { kind }]) => kind === 'map').map(([name]) => `delete map ${TABLE} ${name}`),
    ...oldChains.map((name) => `delete chain ${TABLE} ${name}`),
    ...oldSets
      .filter(([, { kind }]) => kind !== 'map')
      .map(([name, { kind }]) => `delete ${kind} ${TABLE} ${name}`),
  ];
  return lines.length === 0 ? '' : [`add table ${TABLE}`, ...lines, ''].join('\n');
}

function elements(verb: 'add' | 'delete', name: string, texts: readonly string[]): string[] {
  return texts.length === 0 ? [] : [`${verb} element ${TABLE} ${name} { ${texts.join(', ')} }`];
}

function missing(wanted: ReadonlySet<string>, present: ReadonlySet<string>): string[] {
  // There may be tens of thousands, of which nearly all are in both.
  const found: string[] = [];
  for (const one of wanted) if (!present.has(one)) found.push(one);
  return found;
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}
