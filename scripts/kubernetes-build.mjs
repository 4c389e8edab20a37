/**
 * Builds Kubernetes out of Debian's source package, which has all that it needs in it, with Debian's Go. What is made goes
 * into a cache folder outside of the checkout, one for each version:
 *
 *     ~/.cache/warren/kubernetes-1.20.2/bin       kube-apiserver and the others, pause, busybox, for tests e2e.test and agnhost
 *     ~/.cache/warren/kubernetes-1.20.2/source    the unpacked source and what the build made of it
 *
 * WARREN_KUBERNETES_CACHE names another folder than ~/.cache/warren. Node built-ins only.
 */
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findProgram } from './system-tools.mjs';

export const VERSION = '1.20.2';
/** Of Debian 12, which calls 1.20.2 so; it has no later one of which all sources are in the package. */
const SOURCE = 'kubernetes=1.20.5+really1.20.2-1.1+deb12u1';
const PROGRAMS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'kubectl',
];

/** Of a server in agnhost, which looks for them in its working folder. */
const CERTIFICATES = ['localhost.crt', 'localhost.key'];

const FOLDER = join(
  process.env.WARREN_KUBERNETES_CACHE || join(homedir(), '.cache', 'warren'),
  `kubernetes-${VERSION}`,
);
const BIN = join(FOLDER, 'bin');
const SOURCES = join(FOLDER, 'source');

/** Nothing is downloaded but the package: all modules are vendored. The build's own version is not in a git history. */
const GO_ENVIRONMENT = {
  GO111MODULE: 'auto',
  GOFLAGS: '-mod=vendor',
  GOPROXY: 'off',
  KUBE_GIT_VERSION: `v${VERSION}`,
  KUBE_GIT_TREE_STATE: 'archive',
  KUBE_GIT_COMMIT: '0',
  KUBE_GIT_MAJOR: '1',
  KUBE_GIT_MINOR: '20',
};

/** Builds what is missing and gives the folder of the programs. `forTests`: also what Kubernetes' own tests need. */
export async function buildKubernetes({ forTests, signal }) {
  const isThere = (name) => existsSync(join(BIN, name));
  const programs = PROGRAMS.filter((name) => !isThere(name));
  const tests = forTests ? ['e2e.test', 'agnhost', ...CERTIFICATES].filter((name) => !isThere(name)) : [];
  mkdirSync(BIN, { recursive: true });
  if (programs.length > 0 || tests.length > 0 || !isThere('pause')) {
    console.log(`Kubernetes ${VERSION} is built once, into ${FOLDER} (4 GB with its source).`);
    const source = await unpackSource(signal);
    mendReflect2(join(source, 'vendor/github.com/modern-go/reflect2'));
    const make = (what, title) =>
      step(title, 'make', [`WHAT=${what}`], {
        cwd: source,
        env: { ...process.env, ...GO_ENVIRONMENT },
        signal,
      });
    if (programs.length > 0) {
      const what = programs.map((name) => `cmd/${name}`).join(' ');
      await make(what, `Building ${programs.join(', ')} (Go; 10 to 20 minutes on two cores)`);
      for (const name of programs) place(join(source, '_output/local/go/bin', name), name);
    }
    if (!isThere('pause')) {
      const made = join(SOURCES, 'pause');
      const argv = ['-Os', '-static', '-o', made, join(source, 'build/pause/linux/pause.c')];
      await step('Building pause (gcc)', 'gcc', argv, { signal });
      place(made, 'pause');
    }
    if (tests.includes('e2e.test')) {
      await make('test/e2e/e2e.test', "Building Kubernetes' own tests (Go; 5 minutes)");
      place(join(source, '_output/local/go/bin/e2e.test'), 'e2e.test');
    }
    if (tests.some((name) => name !== 'e2e.test')) {
      const gopath = join(source, '_output/local/go');
      const made = join(SOURCES, 'agnhost');
      // A link to the source. Go finds what is vendored by the path that leads there, which PWD says.
      const cwd = join(gopath, 'src/k8s.io/kubernetes');
      const env = { ...process.env, GO111MODULE: 'off', GOPATH: gopath, CGO_ENABLED: '0', PWD: cwd };
      await step('Building agnhost (Go; 1 minute)', 'go', ['build', '-o', made, './test/images/agnhost'], {
        cwd,
        env,
        signal,
      });
      place(made, 'agnhost');
      for (const name of CERTIFICATES) place(join(source, 'test/images/agnhost/porter', name), name);
    }
  }
  // One that needs no library.
  if (!isThere('busybox')) place(findProgram('busybox'), 'busybox');
  return BIN;
}

/** The folder of the unpacked source. It appears whole or not at all. */
async function unpackSource(signal) {
  const found = () =>
    existsSync(SOURCES)
      ? readdirSync(SOURCES).find(
          (name) => name.startsWith('kubernetes-') && existsSync(join(SOURCES, name, 'Makefile')),
        )
      : undefined;
  if (found() !== undefined) return join(SOURCES, found());
  const unfinished = `${SOURCES}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const options = aptOptions(unfinished);
  await step(
    'Refreshing lists of source packages (apt-get update)',
    'apt-get',
    [...options, 'update', '-q'],
    { signal },
  );
  await step(
    `Fetching and unpacking ${SOURCE} (apt-get source)`,
    'apt-get',
    [...options, 'source', '-q', SOURCE],
    {
      cwd: unfinished,
      signal,
    },
  );
  rmSync(SOURCES, { recursive: true, force: true });
  renameSync(unfinished, SOURCES);
  return join(SOURCES, found());
}

/**
 * The package reflect2 of that time calls a function of Go's runtime that has another signature since Go 1.18: whoever
 * writes a map as JSON writes into memory that is not its own, and ends sooner or later. Here it is called as it now wants.
 */
export function mendReflect2(folder) {
  const mend = (name, from, to) => {
    const path = join(folder, name);
    const text = readFileSync(path, 'utf8');
    if (text.includes(to)) return;
    if (!text.includes(from)) throw new Error(`${path} is not as it was expected`);
    writeFileSync(path, text.replace(from, to));
  };
  mend(
    'unsafe_link.go',
    'func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer) *hiter',
    'func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer, it *mapState)',
  );
  mend(
    'unsafe_map.go',
    'hiter:      mapiterinit(type2.rtype, *(*unsafe.Pointer)(obj)),',
    'hiter:      beginIteration(type2.rtype, *(*unsafe.Pointer)(obj)),',
  );
  // The runtime's own state of an iteration begins as hiter does; behind that it has six pointers and four other words in Go 1.19.
  writeFileSync(
    join(folder, 'map_state.go'),
    `package reflect2

import "unsafe"

type mapState struct {
	hiter
	_ [6]unsafe.Pointer
	_ [8]uintptr
}

func beginIteration(rtype unsafe.Pointer, m unsafe.Pointer) *hiter {
	it := new(mapState)
	mapiterinit(rtype, m, it)
	return &it.hiter
}
`,
  );
}

/** apt with lists of its own, of this machine's sources as sources of source packages: the machine's own stay as they are. */
function aptOptions(folder) {
  const lists = join(folder, 'lists');
  const parts = join(folder, 'sources.d');
  mkdirSync(join(lists, 'partial'), { recursive: true });
  mkdirSync(parts);
  const machine = '/etc/apt/sources.list.d';
  const files = existsSync(machine) ? readdirSync(machine).map((name) => join(machine, name)) : [];
  for (const [i, path] of ['/etc/apt/sources.list', ...files].entries()) {
    if (!existsSync(path) || !/\.(list|sources)$/.test(path)) continue;
    writeFileSync(join(parts, `${i}${/\.\w+$/.exec(path)[0]}`), forSources(readFileSync(path, 'utf8')));
  }
  const settings = {
    'Dir::Etc::SourceList': '/dev/null',
    'Dir::Etc::SourceParts': parts,
    'Dir::State::Lists': lists,
    // What is downloaded is checked by apt as root, and read here.
    'APT::Sandbox::User': 'root',
    'Acquire::Retries': '3',
  };
  return Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
}

/** A list of where packages are, of either form, as one of where their sources are. */
export function forSources(text) {
  return text.replace(/^Types:.*$/gm, 'Types: deb-src').replace(/^deb(?:-src)?(?=[ \t])/gm, 'deb-src');
}

function place(from, name) {
  const made = join(BIN, `${name}.new`);
  copyFileSync(from, made);
  renameSync(made, join(BIN, name));
}

/** Runs a program without its output, whose end is shown if it fails. Throws then, and when `signal` is aborted. */
async function step(title, program, args, { cwd, env = process.env, signal }) {
  const startMs = Date.now();
  process.stdout.write(`${title} ... `);
  // A group of its own: what it has started ends with it.
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const stop = () => process.kill(-child.pid, 'SIGTERM');
  signal?.addEventListener('abort', stop);
  let last = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      last = (last + chunk).slice(-4000);
    });
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  signal?.removeEventListener('abort', stop);
  const seconds = ((Date.now() - startMs) / 1000).toFixed(0);
  console.log(`${code === 0 ? 'done' : 'failed'} (${seconds} s)`);
  signal?.throwIfAborted();
  if (code !== 0) throw new Error(`${program} ended with ${code}:\n${last.trim()}`);
}
