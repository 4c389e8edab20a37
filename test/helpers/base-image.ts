/**
 * A base image made without a registry: Debian from debootstrap, the Node that runs this test and its npm,
 * and this machine's CA certificates and npm settings, so that npm in an image build works as it does here.
 * The Debian part is kept in /var/cache/warren.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { arch } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { output } from './command.ts';
import type { DockerEngine } from './docker-engine.ts';

// Only root writes here; a name that anybody could take first is no place for what root unpacks.
const CACHE_FOLDER = '/var/cache/warren';
const PACKAGES = ['iproute2', 'iputils-ping', 'nftables', 'ca-certificates'];
/** Grows with what is in it. */
const ARCHIVE_VERSION = 2;
const CA_CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

const STEP_TIMEOUT_MS = 10 * 60_000;

/** Makes the image `tag` with `label` (`key=value`), which every image built from it inherits. */
export async function importBaseImage(engine: DockerEngine, tag: string, label: string): Promise<void> {
  const folder = mkdtempSync('/var/tmp/warren-base-');
  try {
    const root = join(folder, 'root');
    const archive = join(folder, 'base.tar');
    mkdirSync(root);
    await output(['tar', '-xpf', await debianArchive(), '-C', root], { timeoutMs: STEP_TIMEOUT_MS });
    await addNode(root);
    await addNetworkSettings(root);
    await output(['tar', '-cf', archive, '-C', root, '.'], { timeoutMs: STEP_TIMEOUT_MS });
    const changes = [`LABEL ${label}`, `ENV NODE_EXTRA_CA_CERTS=${CA_CERTIFICATES}`, 'CMD ["node"]'];
    await output(['docker', 'import', ...changes.flatMap((change) => ['--change', change]), archive, tag], {
      timeoutMs: STEP_TIMEOUT_MS,
      env: engine.env,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The cached archive of a minimal Debian of this machine's release, made now if there is none. */
export async function debianArchive(): Promise<string> {
  const release = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'stable';
  const archive = join(CACHE_FOLDER, `base-${ARCHIVE_VERSION}-${release}-${arch()}.tar`);
  if (existsSync(archive)) return archive;
  mkdirSync(CACHE_FOLDER, { recursive: true, mode: 0o700 });
  const folder = mkdtempSync('/var/tmp/warren-debian-');
  try {
    const root = join(folder, 'root');
    const include = `--include=${PACKAGES.join(',')}`;
    await output(['debootstrap', '--variant=minbase', include, release, root], {
      timeoutMs: STEP_TIMEOUT_MS,
    });
    rmSync(join(root, 'var/cache/apt/archives'), { recursive: true, force: true });
    // Device nodes are Docker's business, and an engine without mknod could not unpack them.
    // Another test may make it at the same time, in namespaces of its own with process ids of their own.
    const partial = `${archive}.${basename(folder)}`;
    await output(['tar', '-cf', partial, '--exclude=./dev/*', '-C', root, '.'], {
      timeoutMs: STEP_TIMEOUT_MS,
    });
    renameSync(partial, archive);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return archive;
}

/** This Node, the shared libraries that the minimal Debian lacks, and npm. */
async function addNode(root: string): Promise<void> {
  copyInto(root, process.execPath, '/usr/local/bin/node');
  const libraries = await output(['ldd', process.execPath]);
  for (const [, path] of libraries.matchAll(/=> (\/\S+)/g)) {
    if (path !== undefined && !existsSync(join(root, path))) copyInto(root, path, path);
  }
  const npmCli = realpathSync((await output(['which', 'npm'])).trim());
  const npmFolder = dirname(dirname(npmCli));
  const modules = join(root, 'usr/local/lib/node_modules');
  mkdirSync(modules, { recursive: true });
  await output(['cp', '-a', npmFolder, join(modules, 'npm')]);
  await output(['ln', '-s', '../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm')]);
}

/** What npm needs to reach its registry from here. Settings of the user, which may hold tokens, stay out. */
async function addNetworkSettings(root: string): Promise<void> {
  if (existsSync(CA_CERTIFICATES)) copyInto(root, CA_CERTIFICATES, CA_CERTIFICATES);
  const settings = (await output(['npm', 'config', 'get', 'globalconfig'])).trim();
  if (existsSync(settings)) copyInto(root, settings, '/usr/local/etc/npmrc');
  const caFile = (await output(['npm', 'config', 'get', 'cafile'])).trim();
  if (caFile.startsWith('/') && existsSync(caFile)) copyInto(root, caFile, caFile);
}

function copyInto(root: string, from: string, to: string): void {
  const target = join(root, to);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(from, target);
}
