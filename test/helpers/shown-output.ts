/** What a document shows a command to print, held against what it printed on hosts with other addresses. */

/** `10.42.105.0/24`, `fd42:0:0:69::2`: what looks like an address or a prefix. */
const ADDRESS = /^(?:\d+\.\d+\.\d+\.\d+|[0-9a-f:]*::[0-9a-f]*)(?:\/\d+)?$/;

/**
 * The document's subnets by the real ones, learned from output in which both stand at the same place. Bounded by
 * the nodes of a document.
 */
export class Substitution {
  readonly #real = new Map<string, string>();

  /** `text` of the document as it must read here. */
  apply(text: string): string {
    let real = text;
    for (const [shown, here] of this.#real) real = real.replaceAll(shown, here);
    return real;
  }

  /** Takes note of every address of `shown` whose subnet is another in `printed`. */
  learn(shown: readonly string[], printed: readonly string[]): void {
    for (const [i, line] of shown.entries()) {
      const words = line.trim().split(/\s+/);
      const others = printed[i]?.trim().split(/\s+/) ?? [];
      if (words.length !== others.length) continue;
      for (const [j, word] of words.entries()) {
        const other = others[j]!;
        if (word === other || !ADDRESS.test(word) || !ADDRESS.test(other)) continue;
        this.#real.set(subnetOf(word), subnetOf(other));
      }
    }
  }
}

/** An output without what differs from run to run: times, traffic, and how wide its columns are. */
export function comparable(lines: readonly string[]): string[] {
  return lines.map((line) =>
    line
      .replace(/\b[\d.]+ [kM]?B\b/g, 'SIZE')
      .replace(/\b\d+\.\d\d\b/g, 'MS')
      .replace(/\b(?:\d+[mhd] )?\d+[smh] ago\b/g, 'AGO')
      .replace(/\s+/g, ' ')
      .trim(),
  );
}

/** The part that all addresses of a node's subnet share, with what ends it. */
function subnetOf(address: string): string {
  if (address.includes(':')) return `${address.split('::')[0]}::`;
  return `${address.split('.').slice(0, 3).join('.')}.`;
}
