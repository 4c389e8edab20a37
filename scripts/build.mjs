/**
 * `npm run build`: bundles src/ into dist/, each program with what it imports, npm packages included. An agent
 * or a command then loads a handful of files where it would look up and compile several hundred, which is half
 * of the time it takes to start. koffi stays outside: it finds its native library beside itself.
 */
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** What is run by its path or as a thread (`builtFile` in src/package.ts); all else is loaded by these. */
const ENTRIES = [
  'bin/warren',
  'datapath/worker',
  'host/attachment/worker',
  'simulate/part-worker',
  'bench/micro/main',
];

const { output } = await build({
  cwd: ROOT,
  input: Object.fromEntries(ENTRIES.map((entry) => [entry, `src/${entry}.ts`])),
  platform: 'node',
  external: ['koffi'],
  output: {
    dir: 'dist',
    cleanDir: true,
    format: 'esm',
    sourcemap: true,
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
  },
});
chmodSync(join(ROOT, 'dist/bin/warren.js'), 0o755);
writeFileSync(join(ROOT, 'dist/LICENSES.txt'), licencesOf(bundledPackages(output)));

/** Folders of the npm packages that are part of the output. */
function bundledPackages(chunks) {
  const modules = chunks.flatMap(({ moduleIds = [] }) => moduleIds);
  const folders = modules.map((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0]);
  return [...new Set(folders.filter((folder) => folder !== undefined))].sort();
}

/** The notices that their licences want in every copy. */
function licencesOf(folders) {
  const notices = folders.map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    const text = file === undefined ? '' : `\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
    return `${name} ${version}, ${license}\n${text}`;
  });
  return `The programs in this folder contain:\n\n${notices.join(`\n${'-'.repeat(80)}\n\n`)}`;
}
