/** "Did you mean": the nearest of a few known words to a word that is not among them. */
import { distance } from 'fastest-levenshtein';

/** The candidate nearest to `word`, if it is near enough to be a slip; undefined otherwise. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  // No key is longer, and the distance of longer words takes time.
  if (word.length > 64) return undefined;
  const wanted = word.toLowerCase();
  let best: string | undefined;
  // A third of the word may be wrong: `sedes` is `seeds`, and `x` is nothing.
  let bestDistance = Math.ceil(word.length / 3) + 1;
  for (const candidate of candidates) {
    const wrong = distance(wanted, candidate.toLowerCase());
    if (wrong < bestDistance && wrong < candidate.length) {
      best = candidate;
      bestDistance = wrong;
    }
  }
  return best;
}

/** ` (did you mean x?)`, or nothing. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const candidate = nearest(word, candidates);
  return candidate === undefined ? '' : ` (did you mean ${candidate}?)`;
}
