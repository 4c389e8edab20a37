/** Links between other nodes: each pair once, with what goes both ways. */
import type { LinkReport } from '../../src/readmodel/reports.ts';

export interface ForeignLink {
  readonly a: string;
  readonly b: string;
  /** Bytes per second, both ways together. */
  readonly rate: number;
  readonly isSealed: boolean;
}

/** Those of `ownId` are left out: what it knows itself is newer. */
export function foreignLinks(links: readonly LinkReport[], ownId: string | undefined): ForeignLink[] {
  const pairs = new Map<string, ForeignLink>();
  for (const { from, to, outboundBytes, isSealed } of links) {
    if (from === ownId || to === ownId || from === to) continue;
    const [a, b] = from < to ? [from, to] : [to, from];
    const key = `${a} ${b}`;
    const before = pairs.get(key);
    pairs.set(key, {
      a,
      b,
      rate: (before?.rate ?? 0) + outboundBytes,
      // One that sends clear text is enough for clear text.
      isSealed: isSealed && (before?.isSealed ?? true),
    });
  }
  return [...pairs.values()];
}
