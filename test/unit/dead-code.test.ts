/** An export that nothing mentions, not even its own file or a test, is code that only its readers pay for. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const EXPORT = /^export (?:async )?(?:const|function\*?|class) (\w+)/gm;
/** Exports that are there to be exports, with why. */
const ALLOWED: Readonly<Record<string, string>> = {
  consumed: 'what keeps the compiler from dropping what a micro-benchmark computes',
  runKubernetesLab: 'what scripts/kubernetes.mjs loads from the build',
  removeKubernetesLab: 'the same',
};

const texts = ['src', 'test'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => ({ file: `${folder}/${file}`, text: readFileSync(join(ROOT, folder, file), 'utf8') })),
);

it('src exports nothing that is never used', () => {
  const mentions = new Map<string, number>();
  // Not in texts: a function of libc stands in its own prototype.
  for (const { text } of texts)
    for (const [word] of text.replace(/'[^'\n]*'/g, '').matchAll(/\w+/g))
      mentions.set(word, (mentions.get(word) ?? 0) + 1);
  const exported = texts
    .filter(({ file }) => file.startsWith('src/'))
    .flatMap(({ file, text }) => [...text.matchAll(EXPORT)].map(([, name]) => ({ file, name: name! })));
  expect(exported.length).toBeGreaterThan(500);
  const unused = exported.filter(({ name }) => mentions.get(name) === 1 && !(name in ALLOWED));
  expect(unused.map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
});
