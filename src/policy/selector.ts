/** Label selectors: whether one selects a set of labels, and a text that is the same for selectors that say the same. */
import type { LabelSelector } from './schema.ts';

export type Labels = Readonly<Record<string, string>>;

/** All requirements hold; a selector without any selects everything. */
export function selects({ matchLabels, matchExpressions }: LabelSelector, labels: Labels): boolean {
  for (const key in matchLabels) if (labelOf(labels, key) !== matchLabels[key]) return false;
  for (const { key, operator, values } of matchExpressions ?? []) {
    const value = labelOf(labels, key);
    switch (operator) {
      case 'In':
        if (value === undefined || !values!.includes(value)) return false;
        break;
      case 'NotIn':
        if (value !== undefined && values!.includes(value)) return false;
        break;
      case 'Exists':
        if (value === undefined) return false;
        break;
      case 'DoesNotExist':
        if (value !== undefined) return false;
    }
  }
  return true;
}

export function selectorKey({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  return JSON.stringify([
    Object.entries(matchLabels).sort(([a], [b]) => (a < b ? -1 : 1)),
    matchExpressions
      .map(({ key, operator, values = [] }) => [key, operator, ...values.toSorted()].join(' '))
      .sort(),
  ]);
}

function labelOf(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
