/**
 * Imports point one way: bin -> cli -> agent -> everything; what is further down knows nothing of what is
 * further up. This file reads the import lines of src/ and holds them to the table below. A new folder, a new
 * direction or a new npm package is a line here, and a reason to think about it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SRC = join(ROOT, 'src');

/** Which parts (folders of src/, or single files there) a part may import, and of which only types. */
const MAY_IMPORT: Readonly<Record<string, { readonly code: string; readonly types?: string }>> = {
  // Bytes and look-ups: they know nothing but themselves.
  wire: { code: '' },
  fdb: { code: '' },
  errors: { code: '' },
  package: { code: '' },
  log: { code: '' },
  ip: { code: 'errors' },
  state: { code: 'errors' },
  sys: { code: 'errors' },

  // The packet path and the two things it talks to.
  tun: { code: 'errors sys wire', types: 'datapath' },
  underlay: { code: 'errors sys', types: 'datapath' },
  datapath: { code: 'errors package sys wire fdb tun underlay' },

  // Control.
  config: { code: 'errors ip', types: 'log' },
  host: { code: 'errors ip', types: 'config log' },
  clock: { code: '' },
  identity: { code: 'errors state' },
  protobuf: { code: 'identity ip' },
  // Sealed frames between nodes, in datagrams and streams; gossip and requests go over them.
  link: { code: 'clock errors identity ip protobuf state', types: 'log' },
  membership: { code: 'clock errors identity ip link package protobuf state', types: 'log' },
  lease: { code: 'clock errors ip state membership', types: 'config log' },
  rpc: { code: 'clock errors identity ip link package protobuf', types: 'log' },
  keys: { code: 'errors link rpc' },
  inventory: { code: 'clock errors ip package protobuf state', types: 'log membership rpc' },
  peers: { code: 'ip', types: 'config dataplane lease membership' },
  dataplane: { code: 'config datapath errors fdb host ip pod sys tun underlay wire', types: 'agent log' },
  attachment: { code: 'clock errors ip state', types: 'log' },
  pod: { code: 'attachment config errors host ip state', types: 'log readmodel' },
  readmodel: { code: '', types: 'lease membership' },
  metrics: { code: '', types: 'readmodel' },
  api: { code: 'errors ip metrics readmodel', types: 'log' },

  // The composition root: src/agent.ts and src/agent/.
  agent: {
    code: 'api attachment clock config dataplane errors host identity inventory ip keys lease link log membership metrics package peers pod readmodel rpc state tun datapath',
  },

  // What people run.
  simulate: {
    code: 'cli clock errors identity inventory ip keys lease link log membership package rpc',
    types: 'config',
  },
  lab: { code: 'api cli config errors host ip link membership package pod readmodel state' },
  bench: { code: 'api cli config errors fdb host ip lab package pod readmodel state sys wire datapath' },
  cli: { code: 'agent api bench config errors host ip lab link package readmodel simulate', types: 'log' },
  bin: { code: 'cli' },
};

/** Pairs of folders that import each other, with why that is all right. */
const MUTUAL: Readonly<Record<string, string>> = {
  'api metrics': 'metrics renders reports, whose types are the API contract; api serves what it renders',
  'cli lab':
    'cli loads the lab only for its commands; the lab runs the check and prints the tables of the cli',
  'cli bench':
    'cli loads the benchmark only for its command; the benchmark prints with the tables of the cli',
  'cli simulate':
    'cli loads the simulator only for its command; the simulator uses the exit codes of the cli',
  'datapath tun': 'worker.ts opens the real TUN queue, which implements the type of the port in ports.ts',
  'datapath underlay': 'worker.ts opens the real socket, which implements the type of the port in ports.ts',
};

/** Files that import a folder which the rest of theirs may not. */
const ONLY_FROM: readonly { readonly part: string; readonly target: string; readonly file: string }[] = [
  { part: 'datapath', target: 'tun', file: 'datapath/worker.ts' },
  { part: 'datapath', target: 'underlay', file: 'datapath/worker.ts' },
];

/** Which parts may import an npm package. */
const PACKAGES: Readonly<Record<string, string>> = {
  koffi: 'sys',
  yaml: 'config lab bench',
  zod: 'config host identity inventory state pod lease link membership api lab bench simulate',
  protobufjs: 'inventory membership rpc',
  commander: 'cli lab bench simulate',
  'ipaddr.js': 'ip',
  pino: 'log',
};

interface Import {
  /** Relative to src/. */
  readonly from: string;
  /** The same, or the name of an npm package. */
  readonly to: string;
  readonly isPackage: boolean;
  /** `import type` and `export type`: gone from what runs. */
  readonly isType: boolean;
  /** `import()`: loaded when it is called, not before. */
  readonly isDynamic: boolean;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .sort();
const imports = files.flatMap(importsOf);
const internal = imports.filter(({ isPackage }) => !isPackage);

function importsOf(file: string): Import[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  const statements = [
    ...text.matchAll(/^(?:import|export)\s+(type\s)?(?:[\w*{}\s,]+?\sfrom\s+)?'([^']+)';/gm),
  ];
  const calls = [...text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g)];
  // A worker thread's file is loaded by its built name.
  const threads = [...text.matchAll(/new Worker\(\s*builtFile\('([^']+)'\)/g)];
  const found = (specifier: string, isType: boolean, isDynamic: boolean): Import => {
    const isPackage = !specifier.startsWith('.');
    const to = isPackage ? packageName(specifier) : relative(SRC, join(SRC, dirname(file), specifier));
    return { from: file, to, isPackage, isType, isDynamic };
  };
  const started = (to: string): Import => ({
    from: file,
    to,
    isPackage: false,
    isType: false,
    isDynamic: true,
  });
  return [
    ...statements.map(([, type, specifier]) => found(specifier!, type !== undefined, false)),
    ...calls.map(([, specifier]) => found(specifier!, false, true)),
    ...threads.map(([, entry]) => started(`${entry}.ts`)),
  ];
}

/** `zod` of `zod/v4`, `@scope/name` of `@scope/name/part`, `node:fs` as it is. */
function packageName(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** `membership` of `membership/seal.ts`; `agent` of `agent.ts` and of `agent/view.ts`. */
function partOf(file: string): string {
  return file.split('/')[0]!.replace(/\.ts$/, '');
}

function words(text: string | undefined): readonly string[] {
  return text?.split(' ').filter(Boolean) ?? [];
}

describe('the import lines of src/', () => {
  it('are all found', () => {
    expect(files.length).toBeGreaterThan(100);
    for (const { from, to } of internal) expect(files, `${from} imports ${to}`).toContain(to);
    const lines = files.map((file) => readFileSync(join(SRC, file), 'utf8').match(/ from '/g)?.length ?? 0);
    const statements = imports.filter(({ isDynamic }) => !isDynamic);
    expect(statements.length).toBe(lines.reduce((sum, count) => sum + count, 0));
  });

  it('point one way', () => {
    const wrong = internal
      .filter(({ from, to, isType }) => {
        const [part, target] = [partOf(from), partOf(to)];
        const may = MAY_IMPORT[part];
        if (part === target) return false;
        return !words(may?.code).includes(target) && !(isType && words(may?.types).includes(target));
      })
      .map(({ from, to, isType }) => `${from} imports ${to}${isType ? ' (types)' : ''}`);
    expect(wrong).toEqual([]);
  });

  it('keep the packet path apart from control, and wire and fdb from all', () => {
    const targets = (part: string) =>
      new Set(internal.filter(({ from }) => partOf(from) === part).map(({ to }) => partOf(to)));
    for (const above of ['membership', 'lease', 'agent', 'api', 'cli', 'pod', 'host', 'config', 'lab']) {
      for (const part of ['datapath', 'tun', 'underlay', 'wire', 'fdb', 'sys']) {
        expect(targets(part).has(above), `${part} imports ${above}`).toBe(false);
      }
    }
    expect([...targets('wire')]).toEqual(['wire']);
    expect([...targets('fdb')]).toEqual(['fdb']);
    expect(targets('membership').has('lease')).toBe(false);
  });

  it('let one file bring the packet path and its real ports together', () => {
    for (const { part, target, file } of ONLY_FROM) {
      const from = internal.filter((one) => partOf(one.from) === part && partOf(one.to) === target);
      expect(new Set(from.map((one) => one.from)), `${part} imports ${target}`).toEqual(new Set([file]));
    }
    const ports = internal.filter(
      ({ from, to }) => /^(tun|underlay)\//.test(from) && partOf(to) === 'datapath',
    );
    expect(new Set(ports.map(({ to }) => to))).toEqual(new Set(['datapath/ports.ts']));
  });

  it('name no folder pair that imports each other, but for those with a reason', () => {
    const edges = new Set(internal.map(({ from, to }) => `${partOf(from)} ${partOf(to)}`));
    const mutual = [...edges]
      .map((edge) => edge.split(' ') as [string, string])
      .filter(([a, b]) => a < b && edges.has(`${b} ${a}`))
      .map(([a, b]) => `${a} ${b}`);
    const allowed = Object.keys(MUTUAL).map((pair) => pair.split(' ').sort().join(' '));
    expect(mutual.filter((pair) => !allowed.includes(pair))).toEqual([]);
  });

  it('make no circle of folders that the table does not show', () => {
    const edges = internal
      .map(({ from, to }): [string, string] => [partOf(from), partOf(to)])
      .filter(([a, b]) => a !== b && !isMutual(a, b));
    expect(circles(edges)).toEqual([]);
  });

  it('let a command that asks the agent start without what an agent needs', () => {
    const loaded = new Set<string>();
    const load = (file: string) => {
      if (loaded.has(file)) return;
      loaded.add(file);
      for (const { from, to, isType, isDynamic } of imports)
        if (from === file && !isType && !isDynamic) load(to);
    };
    load('bin/warren.ts');
    const packages = [...loaded].filter((name) => !name.endsWith('.ts') && !name.startsWith('node:'));
    expect(packages).toEqual(['commander']);
    expect([...loaded].filter((file) => /^(agent|membership|config|lab|bench)\b/.test(file))).toEqual([]);
  });

  it('make no circle of files', () => {
    const edges = internal.filter(({ isType, isDynamic }) => !isType && !isDynamic);
    expect(circles(edges.map(({ from, to }) => [from, to]))).toEqual([]);
  });

  it('load the packet path only for an agent', () => {
    // `warren status` and the others must not pay for koffi and the worker's code.
    const reached = reachable(
      'bin/warren.ts',
      internal.filter(({ isType, isDynamic }) => !isType && !isDynamic),
    );
    expect([...reached].filter((file) => ['sys', 'datapath', 'agent', 'lab'].includes(partOf(file)))).toEqual(
      [],
    );
  });
});

describe('npm packages', () => {
  const used = imports.filter(({ isPackage, to }) => isPackage && !to.startsWith('node:'));

  it('are imported where they belong', () => {
    const wrong = used
      .filter(({ from, to }) => !words(PACKAGES[to]).includes(partOf(from)))
      .map(({ from, to }) => `${from} imports ${to}`);
    expect(wrong).toEqual([]);
  });

  it('are those of package.json, no more and no fewer', () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
    };
    expect(Object.keys(dependencies).sort()).toEqual([...new Set(used.map(({ to }) => to))].sort());
    expect(Object.keys(PACKAGES).sort()).toEqual(Object.keys(dependencies).sort());
  });
});

function isMutual(a: string, b: string): boolean {
  return `${a} ${b}` in MUTUAL || `${b} ${a}` in MUTUAL;
}

/** Each node from which a walk leads back to itself, with that walk; empty if there is none. */
function circles(edges: readonly (readonly [string, string])[]): string[] {
  const next = new Map<string, Set<string>>();
  for (const [from, to] of edges) next.set(from, (next.get(from) ?? new Set()).add(to));
  const done = new Set<string>();
  const path: string[] = [];
  const found: string[] = [];
  const walk = (node: string): void => {
    const start = path.indexOf(node);
    if (start >= 0) {
      found.push([...path.slice(start), node].join(' -> '));
      return;
    }
    if (done.has(node)) return;
    path.push(node);
    for (const target of next.get(node) ?? []) walk(target);
    path.pop();
    done.add(node);
  };
  for (const node of next.keys()) walk(node);
  return found;
}

function reachable(start: string, edges: readonly Import[]): Set<string> {
  const reached = new Set([start]);
  for (const file of reached) {
    for (const { from, to } of edges) if (from === file) reached.add(to);
  }
  return reached;
}
