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
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, homedir, totalmem } from 'node:os';
import { join } from 'node:path';
import { findProgram } from './system-tools.mjs';

export const VERSION = '1.20.2';
/** As Debian 12 calls 1.20.2; it has no later one of which all sources are in the package. */
const SOURCE_VERSION = '1.20.5+really1.20.2';
const SOURCE = `kubernetes=${SOURCE_VERSION}-1.1+deb12u1`;
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

/** What the build calls, with Debian's package for each. */
const BUILDERS = {
  'apt-get': 'apt',
  'dpkg-source': 'dpkg-dev',
  gcc: 'gcc',
  go: 'golang-go',
  jq: 'jq',
  make: 'make',
  rsync: 'rsync',
};
/** Source and what the build makes of it; tests take 2 GB more. */
const NEEDED_DISK_GB = 4;
/** Of each compiler and linker that runs at a time: kube-apiserver's linker takes the most. */
const NEEDED_MEMORY_GB = 2;
const FETCH_TIMEOUT_MINUTES = 10;
const BUILD_TIMEOUT_MINUTES = 60;

/**
 * Nothing is downloaded but the package: all modules are vendored. The build's own version is not in a git history. Without C
 * in any of them, programs share what is compiled: the kubelet would else have two thirds of it compiled for itself again.
 */
const GO_ENVIRONMENT = {
  CGO_ENABLED: '0',
  KUBE_STATIC_OVERRIDES: 'kubelet e2e.test',
  GOMAXPROCS: String(compilersAtOnce(availableParallelism(), process.constrainedMemory?.() || 0, totalmem())),
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
    console.log(
      `Kubernetes ${VERSION} is built once, into ${FOLDER} (${NEEDED_DISK_GB} GB with its source).`,
    );
    checkMachine();
    const source = await unpackSource(signal);
    mendReflect2(join(source, 'vendor/github.com/modern-go/reflect2'));
    const env = { ...process.env, ...GO_ENVIRONMENT };
    const build = (title, program, args) =>
      step(title, program, args, { cwd: source, env, signal, timeoutMinutes: BUILD_TIMEOUT_MINUTES });
    if (programs.length > 0) {
      // The package has all generated code but this.
      await build('Generating code for the API server (Go)', 'make', ['gen_openapi']);
      const title = `Building ${programs.join(', ')} (Go, ${env.GOMAXPROCS} at a time; 9 minutes of processor time)`;
      const what = programs.map((name) => `cmd/${name}`);
      await build(title, 'hack/make-rules/build.sh', what);
      for (const name of programs) place(join(source, '_output/local/go/bin', name), name);
    }
    if (!isThere('pause')) {
      const made = join(SOURCES, 'pause');
      const argv = ['-Os', '-static', '-o', made, join(source, 'build/pause/linux/pause.c')];
      await step('Building pause (gcc)', 'gcc', argv, { signal, timeoutMinutes: 1 });
      place(made, 'pause');
    }
    if (tests.includes('e2e.test')) {
      const title = "Building Kubernetes' own tests (Go; 5 minutes)";
      await build(title, 'make', ['WHAT=test/e2e/e2e.test']);
      place(join(source, '_output/local/go/bin/e2e.test'), 'e2e.test');
    }
    if (tests.some((name) => name !== 'e2e.test')) {
      const gopath = join(source, '_output/local/go');
      const made = join(SOURCES, 'agnhost');
      // A link to the source. Go finds what is vendored by the path that leads there, which PWD says.
      const cwd = join(gopath, 'src/k8s.io/kubernetes');
      const { GOMAXPROCS } = env;
      // Kubernetes' own scripts put what is compiled there.
      const GOCACHE = join(gopath, 'cache');
      const linked = { GO111MODULE: 'off', GOPATH: gopath, CGO_ENABLED: '0', PWD: cwd, GOCACHE, GOMAXPROCS };
      await step('Building agnhost (Go; 1 minute)', 'go', ['build', '-o', made, './test/images/agnhost'], {
        cwd,
        env: { ...process.env, ...linked },
        signal,
        timeoutMinutes: BUILD_TIMEOUT_MINUTES,
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
  const found = findSource(SOURCES);
  if (found !== undefined) return found;
  const unfinished = `${SOURCES}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const options = aptOptions(unfinished);
  const apt = (title, args) =>
    step(title, 'apt-get', [...options, '-q', ...args], {
      cwd: unfinished,
      signal,
      timeoutMinutes: FETCH_TIMEOUT_MINUTES,
    });
  // Sources that cannot be reached are no failure to apt, as others may have it.
  const refreshed = await apt('Refreshing lists of source packages (apt-get update)', ['update']);
  const fetch = (what) => apt(`Fetching and unpacking ${what} (apt-get source)`, ['source', what]);
  try {
    // Where Debian has put right something more in it, this revision is there no more.
    await fetch(SOURCE).catch(() => fetch('kubernetes'));
  } catch (error) {
    signal?.throwIfAborted();
    const reason = `Kubernetes' source package cannot be had from Debian:\n${error.message}`;
    throw new Error(`${reason}\napt-get update had said:\n${refreshed}`);
  }
  if (findSource(unfinished) === undefined)
    throw new Error(`Debian's source package is not Kubernetes ${SOURCE_VERSION} as it was expected`);
  rmSync(SOURCES, { recursive: true, force: true });
  renameSync(unfinished, SOURCES);
  return findSource(SOURCES);
}

function findSource(folder) {
  if (!existsSync(folder)) return undefined;
  const isSource = (name) =>
    name.startsWith(`kubernetes-${SOURCE_VERSION}`) &&
    existsSync(join(folder, name, 'hack/make-rules/build.sh'));
  const name = readdirSync(folder).find(isSource);
  return name && join(folder, name);
}

/** Throws what is missing for a build, before it has taken ten minutes. */
function checkMachine() {
  const missing = Object.entries(BUILDERS).filter(([program]) => !findProgram(program));
  if (missing.length > 0) {
    const list = missing.map(([program, name]) => `${program} (Debian package ${name})`).join(', ');
    throw new Error(`Kubernetes cannot be built, programs are missing: ${list}`);
  }
  const { bavail, bsize } = statfsSync(FOLDER);
  const freeGb = (bavail * bsize) / 2 ** 30;
  if (freeGb < NEEDED_DISK_GB && !existsSync(SOURCES))
    throw new Error(`${FOLDER} has ${freeGb.toFixed(1)} GB of free space, and ${NEEDED_DISK_GB} are needed`);
}

/** As many as there are cores, as long as there is memory for each. `limit`: of the control group, 0 for none. */
export function compilersAtOnce(cores, limit, memory) {
  const bytes = limit > 0 ? Math.min(limit, memory) : memory;
  return Math.max(1, Math.min(cores, Math.floor(bytes / (NEEDED_MEMORY_GB * 2 ** 30))));
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

/**
 * Runs a program without its output, of which it gives the end, and shows it if it fails. Throws then, when it takes longer than it may, and when
 * `signal` is aborted.
 */
async function step(title, program, args, { cwd, env = process.env, signal, timeoutMinutes }) {
  signal?.throwIfAborted();
  const startMs = Date.now();
  process.stdout.write(`${title} ... `);
  const limit = AbortSignal.timeout(timeoutMinutes * 60_000);
  const end = signal === undefined ? limit : AbortSignal.any([signal, limit]);
  // A group of its own: what it has started ends with it.
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const stop = () => process.kill(-child.pid, 'SIGTERM');
  end.addEventListener('abort', stop);
  let last = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      last = (last + chunk).slice(-4000);
    });
  const code = await new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new Error(`cannot run ${program}: ${error.message}`)));
    child.on('close', (code, signalName) => resolve(code ?? signalName));
  });
  end.removeEventListener('abort', stop);
  const seconds = ((Date.now() - startMs) / 1000).toFixed(0);
  console.log(`${code === 0 ? 'done' : 'failed'} (${seconds} s)`);
  signal?.throwIfAborted();
  const why = limit.aborted ? `was ended after ${timeoutMinutes} minutes` : `ended with ${code}`;
  if (code !== 0) throw new Error(`${[program, ...args].join(' ')} ${why}:\n${last.trim()}`);
  return last.trim();
}
