/**
 * `npm run build`: bundles src/ into dist/, each program with what it imports, npm packages included. An agent
 * or a command then loads a handful of files where it would look up and compile several hundred, which is half
 * of the time it takes to start. koffi stays outside: it finds its native library beside itself.
 */
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import protobuf from 'protobufjs';
import { build } from 'rolldown';
import { build as buildPage } from 'vite';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/**
 * What is run by its path or as a thread (`builtFile` in src/package.ts), and what a test loads by its path; all else
 * is loaded by these.
 */
const ENTRIES = [
  'bin/warren',
  'bin/warren-wireguard',
  'dataplane/packet-worker',
  'dataplane/key-exchange-worker',
  'wireguard-device/thread',
  'host/attachment/worker',
  'capture/worker',
  'check/responder',
  'lab/kubernetes/main',
  'lab/kubernetes/outside',
  'lab/kubernetes/load',
  'simulate/part-worker',
  'bench/micro/main',
  'bench/policies',
  'api/apps',
];

/**
 * Modules that fastify loads, or carries, and that src/api never lets it use: an empty one takes their place. Of 634 KB
 * that leaves 228, and of 41 ms and 9.3 MB for the first request 25 ms and 5.7 MB. A test drives the built API.
 */
const UNUSED_BY_FASTIFY = {
  '@fastify/ajv-compiler': 'requests are checked with zod',
  '@fastify/fast-json-stringify-compiler': 'answers have no schema',
  'light-my-request': 'for tests without a socket',
  './logger-pino.js': 'we log ourselves',
  semver: 'for plugins, of which there are none',
  '@fastify/proxy-addr': 'no proxy is trusted',
  'node:http2': 'the server is given',
  'node:https': 'the server is given',
};

/**
 * Of @kubernetes/client-node an agent takes who it is and how it reaches the server. The rest is 40 MB of classes for each kind
 * of object, and ways for people to log in that open a browser or run a cloud's program by a shell.
 */
const UNUSED_BY_KUBERNETES = {
  './gen/index.js': 'export const createConfiguration = undefined, ServerConfiguration = undefined;',
  './azure_auth.js': 'export class AzureAuth { isAuthProvider() { return false; } }',
  './gcp_auth.js': 'export class GoogleCloudPlatformAuth { isAuthProvider() { return false; } }',
  './oidc_auth.js': 'export class OpenIDConnectAuth { isAuthProvider() { return false; } }',
  'node-fetch': 'export const Headers = globalThis.Headers;',
  'socks-proxy-agent':
    'export class SocksProxyAgent { constructor() { throw new Error("a SOCKS proxy is not supported"); } }',
};

/**
 * Small modules that nearly every program needs are one file, and what packet path threads need is another: finding and
 * opening a file costs more than compiling a few kilobytes that are not used. All else is split by who imports it.
 */
const CHUNKS = {
  includeDependenciesRecursively: false,
  groups: [
    { name: 'errors', test: /\/src\/(?:errors|error-codes)\.ts$/ },
    { name: 'packets', test: /\/src\/(?:sys|wire|fdb|datapath|tun|underlay)\// },
    {
      name: 'common',
      test: /\/src\/(?:(?:package|names|clock|places)\.ts|(?:ip|terminal)\/|host\/(?:command|ip|netns|named-netns)\.ts)|\/ipaddr\.js\//,
    },
  ],
};

const { output } = await build({
  cwd: ROOT,
  input: Object.fromEntries(ENTRIES.map((entry) => [entry, `src/${entry}.ts`])),
  platform: 'node',
  // An entry may share a chunk, which then has more to export than the entry.
  preserveEntrySignatures: 'allow-extension',
  external: ['koffi'],
  plugins: [withParsedProtos(), withoutUnused()],
  output: {
    dir: 'dist',
    cleanDir: true,
    format: 'esm',
    sourcemap: true,
    // Less text is compiled sooner, and takes less memory. Names stay for profiles; src/places.ts reads the maps for stacks.
    minify: { compress: true, mangle: { keepNames: true }, codegen: true },
    entryFileNames: '[name].js',
    codeSplitting: CHUNKS,
    chunkFileNames: 'chunks/[name].js',
  },
});
// One file, which `warren cni install` copies to where nothing else of ours is.
await build({
  cwd: ROOT,
  input: 'src/bin/warren-cni.ts',
  platform: 'node',
  output: {
    file: 'dist/bin/warren-cni.cjs',
    format: 'cjs',
    minify: { compress: true, mangle: { keepNames: true }, codegen: true },
  },
});
chmodSync(join(ROOT, 'dist/bin/warren-cni.cjs'), 0o755);
chmodSync(join(ROOT, 'dist/bin/warren.js'), 0o755);
chmodSync(join(ROOT, 'dist/bin/warren-wireguard.js'), 0o755);
const page = await webPage();
writeFileSync(join(ROOT, 'dist/LICENSES.txt'), licencesOf(bundledPackages([...output, ...page])));

/** The web page, ui/, into dist/ui, and each file compressed beside it, so that the agent need not do that. */
async function webPage() {
  const { output } = await buildPage({
    root: join(ROOT, 'ui'),
    base: '/ui/',
    configFile: false,
    publicDir: false,
    logLevel: 'warn',
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      outDir: join(ROOT, 'dist/ui'),
      emptyOutDir: true,
      target: ['es2022', 'chrome105', 'firefox110', 'safari16'],
      // What is put into another file instead would be inline, which the page forbids itself.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
    },
  });
  const folder = join(ROOT, 'dist/ui');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((name) => /\.\w+$/.test(name)))
    writeFileSync(join(folder, `${file}.gz`), gzipSync(readFileSync(join(folder, file)), { level: 9 }));
  return output;
}

function withoutUnused() {
  const prefix = '\0unused:';
  return {
    name: 'without-unused',
    resolveId(source, importer = '') {
      if (/\/node_modules\/fastify\//.test(importer)) {
        return Object.hasOwn(UNUSED_BY_FASTIFY, source) ? prefix + source : null;
      }
      if (!/\/node_modules\/@kubernetes\/client-node\//.test(importer)) return null;
      return Object.hasOwn(UNUSED_BY_KUBERNETES, source) ? prefix + source : null;
    },
    load(id) {
      if (!id.startsWith(prefix)) return null;
      return UNUSED_BY_KUBERNETES[id.slice(prefix.length)] ?? 'module.exports = {};';
    },
  };
}

/** The .proto files as values, and protobufjs without its parser (src/protobuf/root.ts). */
function withParsedProtos() {
  return {
    name: 'with-parsed-protos',
    load(id) {
      if (id !== join(ROOT, 'src/protobuf/root.ts')) return null;
      const files = readdirSync(join(ROOT, 'proto')).filter((file) => file.endsWith('.proto'));
      const parsed = files.map((file) => {
        const { root } = protobuf.parse(readFileSync(join(ROOT, 'proto', file), 'utf8'), new protobuf.Root());
        return [file, root.toJSON()];
      });
      return `import protobuf from 'protobufjs/light.js';
const PARSED = ${JSON.stringify(Object.fromEntries(parsed))};
export function readProto(file) {
  return protobuf.Root.fromJSON(PARSED[file]);
}`;
    },
  };
}

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
