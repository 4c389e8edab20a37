/**
 * Imports point one way: bin -> cli -> agent -> everything; what is further down knows nothing of what is
 * further up. This file parses src/ and holds its imports to the table below. A new folder, a new
 * direction or a new npm package is a line here, and a reason to think about it.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAst } from 'rolldown/parseAst';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SRC = join(ROOT, 'src');

/** Which parts (folders of src/, or single files there) a part may import, and of which only types. */
const MAY_IMPORT: Readonly<Record<string, { readonly code: string; readonly types?: string }>> = {
  // Bytes and look-ups: they know nothing but themselves.
  wire: { code: '' },
  fdb: { code: '' },
  'error-codes': { code: '' },
  errors: { code: '', types: 'error-codes' },
  package: { code: '' },
  log: { code: 'places sys' },
  places: { code: '' },
  histogram: { code: '' },
  'rate-limit': { code: '' },
  following: { code: '', types: 'clock' },
  zod: { code: '' },
  names: { code: '' },
  ip: { code: 'errors' },
  // Messages of the kernel's netlink families, as bytes.
  netlink: { code: 'errors ip' },
  state: { code: 'errors zod' },
  sys: { code: 'errors' },

  // The packet path and the two things it talks to.
  tun: { code: 'errors sys wire', types: 'datapath' },
  underlay: { code: 'errors sys wire', types: 'datapath' },
  datapath: { code: 'errors histogram sys wire fdb' },
  // Enclosing and opening, which the packet path knows by its ports alone.
  encapsulation: { code: 'clock datapath rate-limit sys wire' },

  // Control.
  config: { code: 'errors ip names wire zod', types: 'log' },
  host: { code: 'attachment clock errors ip netlink package sys zod', types: 'config log' },
  clock: { code: '' },
  identity: { code: 'errors state zod' },
  protobuf: { code: 'identity ip names package' },
  // Sealed frames between nodes, in datagrams and streams; gossip and requests go over them.
  link: { code: 'clock errors identity ip protobuf state zod', types: 'log' },
  // Who takes part in forwarding: what approvers say, and the one question that others ask.
  admission: { code: 'errors identity protobuf state zod', types: 'clock' },
  membership: {
    code: 'admission clock errors histogram identity ip link package protobuf state zod',
    types: 'log',
  },
  lease: { code: 'admission clock errors ip membership state zod', types: 'config log' },
  rpc: { code: 'clock errors identity ip link names package protobuf', types: 'error-codes log' },
  keys: { code: 'errors link rpc' },
  inventory: { code: 'clock errors ip names package protobuf state zod', types: 'log membership rpc' },
  // Names out of the inventories, and questions about others' passed on.
  dns: { code: 'attachment inventory ip rate-limit', types: 'clock inventory membership' },
  peers: { code: 'admission ip', types: 'config dataplane lease membership' },
  dataplane: {
    code: 'attachment config datapath encapsulation errors fdb host ip package state sys tun underlay wire',
    types: 'clock histogram log',
  },
  // Whether groups of datagrams arrive whole at peers.
  'group-probe': {
    code: 'attachment clock errors ip protobuf sys',
    types: 'dataplane log peers rpc',
  },
  // Keys of pairs of agents, beside those of the tunnel.
  'post-quantum': { code: 'clock encapsulation errors protobuf', types: 'log rpc' },
  attachment: { code: 'clock errors histogram ip names state zod', types: 'log' },
  // The CNI plugin: it is loaded for every container, and loads nothing but itself.
  cni: { code: '' },
  // Where runtimes look for it.
  'cni-install': { code: 'errors package' },
  // What `kubectl apply` is given.
  manifests: { code: 'package' },
  // Its counterpart in the agent.
  'cni-server': { code: 'attachment cni errors ip state zod', types: 'clock log' },
  // Ordinary WireGuard devices.
  guest: {
    code: 'attachment clock encapsulation errors ip names readmodel state zod',
    types: 'dataplane log peers',
  },
  // The driver of Docker engines.
  docker: { code: 'attachment errors following inventory ip names state zod', types: 'clock host log' },
  // What the API of a Kubernetes cluster says of its nodes.
  kubernetes: { code: 'clock errors ip names package policy', types: 'lease log membership readmodel' },
  pod: { code: 'attachment errors host ip names', types: 'log readmodel' },
  // The last 15 minutes, for the web page.
  history: { code: 'clock errors ip zod', types: 'dataplane membership peers rpc' },
  // What is known, read from sources that are ports of its own.
  readmodel: {
    code: 'history ip',
    types: 'admission dataplane histogram inventory keys lease membership peers rpc',
  },
  metrics: { code: 'histogram', types: 'clock readmodel' },
  // Packets as they come, of this node and of others.
  capture: { code: 'clock datapath errors ip package sys wire zod', types: 'readmodel rpc' },
  // Where a packet dies, by what both of its nodes see.
  trace: {
    code: 'capture clock datapath errors host ip netlink sys terminal wire zod',
    types: 'dataplane readmodel rpc',
  },
  // What a bug report needs, of this node and of others.
  sysdump: { code: 'errors host zod', types: 'readmodel rpc' },
  api: {
    code: 'capture clock error-codes errors ip metrics package readmodel trace zod',
    types: 'cni docker log policy',
  },

  // A WireGuard device of its own, without an agent.
  'wireguard-device': {
    code: 'datapath dataplane encapsulation errors fdb ip log netlink package sys tun',
    types: 'clock',
  },

  // From policies to rules, and to nftables.
  policy: { code: 'config errors following host ip state zod', types: 'clock log' },

  // The composition root: src/agent.ts and src/agent/.
  agent: {
    code: 'kubernetes admission api attachment clock cni cni-server config dataplane encapsulation errors group-probe guest host identity inventory ip keys lease link log membership metrics package peers pod post-quantum readmodel rpc state sys sysdump tun datapath zod dns docker capture check history policy trace',
  },

  // What people run.
  terminal: { code: 'host' },
  check: { code: 'errors host package sys terminal zod', types: 'api readmodel rpc' },
  // What stands in the way of an agent on this host, before there is one.
  'host-check': {
    code: 'api dataplane datapath encapsulation errors host ip netlink state sys zod',
    types: 'config',
  },
  simulate: {
    code: 'admission clock errors identity inventory ip keys lease link log membership package rpc state terminal',
    types: 'config protobuf',
  },
  lab: {
    code: 'api check config errors host ip link manifests membership package readmodel state terminal zod',
    types: 'error-codes',
  },
  bench: {
    code: 'api attachment clock config datapath encapsulation errors fdb host ip lab log netlink package policy readmodel state sys terminal wire zod',
    types: 'attachment',
  },
  cli: {
    code: 'agent api bench check cni-install config errors host host-check ip lab link manifests package places readmodel simulate sys sysdump terminal wireguard-device capture policy trace',
    types: 'log',
  },
  bin: { code: 'cli cni terminal wireguard-device' },
};

/** Which parts may import an npm package. */
const PACKAGES: Readonly<Record<string, string>> = {
  '@kubernetes/client-node': 'kubernetes',
  '@noble/ciphers': 'encapsulation',
  '@noble/hashes': 'encapsulation',
  '@noble/post-quantum': 'post-quantum',
  koffi: 'sys',
  yaml: 'config policy lab bench',
  fastify: 'api',
  'dns-packet': 'dns lab',
  'fastest-levenshtein': 'config',
  uqr: 'cli',
  nanotar: 'sysdump',
  'p-limit': 'bench check history policy rpc sysdump',
  zod: 'zod',
  protobufjs: 'protobuf',
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

/** As the compiler sees them, not by the look of the lines: a parsed file has its imports as nodes. */
function importsOf(file: string): Import[] {
  const found: Import[] = [];
  const add = (specifier: string, kind: { readonly isType: boolean; readonly isDynamic: boolean }): void => {
    const isPackage = !specifier.startsWith('.');
    const to = isPackage ? packageName(specifier) : relative(SRC, join(SRC, dirname(file), specifier));
    found.push({ from: file, to, isPackage, ...kind });
  };
  const program = parseAst(readFileSync(join(SRC, file), 'utf8'), { lang: 'ts' }, file);
  visit(program, (node) => {
    const source = text(node.source);
    switch (node.type) {
      case 'ImportDeclaration':
      case 'ExportNamedDeclaration':
      case 'ExportAllDeclaration':
        if (source !== undefined) add(source, { isType: isTypeOnly(node), isDynamic: false });
        break;
      case 'ImportExpression':
        if (source === undefined) throw new Error(`${file} imports what is only known when it runs`);
        add(source, { isType: false, isDynamic: true });
        break;
      case 'TSImportType':
        if (source !== undefined) add(source, { isType: true, isDynamic: false });
        break;
      case 'NewExpression': {
        // A worker thread's file is loaded by its built name.
        const entry = workerEntry(node);
        if (entry !== undefined) add(relativeTo(file, `${entry}.ts`), { isType: false, isDynamic: true });
      }
    }
  });
  return found;
}

type SyntaxNode = Readonly<Record<string, unknown>> & { readonly type: string };

function visit(value: unknown, each: (node: SyntaxNode) => void): void {
  if (Array.isArray(value)) for (const item of value) visit(item, each);
  if (!isNode(value)) return;
  each(value);
  for (const child of Object.values(value)) if (typeof child === 'object') visit(child, each);
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as SyntaxNode).type === 'string';
}

/** The value of a string literal. */
function text(node: unknown): string | undefined {
  return isNode(node) && node.type === 'Literal' && typeof node.value === 'string' ? node.value : undefined;
}

function isTypeOnly(node: SyntaxNode): boolean {
  return node.importKind === 'type' || node.exportKind === 'type';
}

/** `ENTRY` of `new Worker(builtFile('ENTRY'))`. */
function workerEntry({ callee, arguments: passed }: SyntaxNode): string | undefined {
  const [file] = passed as readonly unknown[];
  if (!isNode(callee) || callee.name !== 'Worker' || !isNode(file) || file.type !== 'CallExpression')
    return undefined;
  return isNode(file.callee) && file.callee.name === 'builtFile'
    ? text((file.arguments as readonly unknown[])[0])
    : undefined;
}

function relativeTo(file: string, target: string): string {
  const path = relative(dirname(file), target);
  return path.startsWith('.') ? path : `./${path}`;
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

  it('let the packet path know its TUN queue, socket and encapsulation by their ports alone', () => {
    const imports = internal.filter(({ from }) => partOf(from) === 'datapath').map(({ to }) => to);
    const targets = imports.map(partOf);
    for (const part of ['tun', 'underlay', 'encapsulation']) expect(targets).not.toContain(part);
    expect(imports).not.toContain('wire/vxlan-gpe.ts');
    const ports = internal.filter(
      ({ from, to }) => /^(tun|underlay)\//.test(from) && partOf(to) === 'datapath',
    );
    expect(new Set(ports.map(({ to }) => to))).toEqual(new Set(['datapath/ports.ts']));
  });

  it('make no circle of folders', () => {
    const edges = internal
      .map(({ from, to }): [string, string] => [partOf(from), partOf(to)])
      .filter(([a, b]) => a !== b);
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
    expect(packages).toEqual(['commander', 'p-limit']);
    expect([...loaded].filter((file) => /^(agent|membership|config|lab|bench)\b/.test(file))).toEqual([]);
  });

  it('let an agent start without what only answers on its control socket', () => {
    const reached = new Set(['agent/run.ts']);
    for (const file of reached) {
      for (const { from, to, isType, isDynamic } of imports)
        if (from === file && !isType && !isDynamic) reached.add(to);
    }
    expect(reached).toContain('api/server.ts');
    expect([...reached].filter((name) => ['fastify', 'api/app.ts', 'api/apps.ts'].includes(name))).toEqual(
      [],
    );
  });

  it('let an agent start without what only a sysdump needs', () => {
    const started = reachable(
      'agent/run.ts',
      imports.filter(({ isType, isDynamic }) => !isType && !isDynamic),
    );
    expect([...started].filter((name) => /^sysdump\/|^nanotar/.test(name))).toEqual(['sysdump/method.ts']);
  });

  it.each([
    ['what only a trace needs', /^trace\//, 'trace/method.ts'],
    [
      'network policies, and what only they need of the packet filter',
      /^policy\/|policy-rules/,
      'policy/method.ts',
    ],
  ])('let an agent start without %s', (_, what, method) => {
    const started = reachable(
      'agent/run.ts',
      imports.filter(({ isType, isDynamic }) => !isType && !isDynamic),
    );
    expect([...started].filter((name) => what.test(name))).toEqual([method]);
  });

  it('let an agent start without what makes post-quantum keys, and Node that can without the package', () => {
    const isNow = ({ isType, isDynamic }: Import) => !isType && !isDynamic;
    const started = reachable('agent/run.ts', imports.filter(isNow));
    expect([...started].filter((name) => /^post-quantum|post-quantum\//.test(name))).toEqual([
      'post-quantum/method.ts',
    ]);
    const native = ['post-quantum/pair-keys.ts', 'post-quantum/ml-kem.ts', 'post-quantum/ml-kem-node.ts'];
    for (const file of native)
      expect([...reachable(file, imports.filter(isNow))]).not.toContain('@noble/post-quantum');
  });

  it('let an agent in clear text start without the cryptography of tunnels', () => {
    const started = reachable(
      'agent/run.ts',
      imports.filter(({ isType, isDynamic }) => !isType && !isDynamic),
    );
    const cryptography = [...started].filter((name) => /^@noble|^encapsulation\/wireguard/.test(name));
    // How long its headers are, which whoever computes an MTU asks.
    expect(cryptography.sort()).toEqual([
      'encapsulation/wireguard/constants.ts',
      'encapsulation/wireguard/form.ts',
    ]);
  });

  it('let a packet path thread do without what only handshakes need', () => {
    const loaded = reachable(
      'encapsulation/wireguard/wireguard-path.ts',
      imports.filter(({ isType }) => !isType),
    );
    const ofHandshakes = /^@noble|wireguard\/(?:noise|handshake|messages|blake2s|peer|device)/;
    expect([...loaded].filter((name) => ofHandshakes.test(name))).toEqual([]);
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
