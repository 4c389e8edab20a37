/**
 * Images without a registry and without an engine: a folder of files becomes one layer, and that an archive as `docker
 * save` writes it, which `ctr images import` takes. Programs are copied with the libraries that they load here, so that an
 * image needs nothing else.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  createReadStream,
  existsSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { runCommand } from '../../host/command.ts';
import { packageFile } from '../../package.ts';

const PACK_TIMEOUT_MS = 120_000;
const FOLDERS = ['bin', 'etc', 'proc', 'sys', 'dev', 'run', 'tmp', 'usr/bin', 'usr/local/bin', 'var'];
/** What the agent and `warren cni install` start, and what the manifests do in a shell. */
const AGENT_PROGRAMS = [
  'ip',
  'nft',
  'ping',
  'nsenter',
  'unshare',
  'tee',
  'chroot',
  'env',
  'sh',
  'find',
  'sleep',
];
const SEARCH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

export interface ImageConfig {
  readonly entrypoint: readonly string[];
  /** Its arguments, where a pod gives none. */
  readonly cmd?: readonly string[];
}

/** The files of an image, before they are packed. */
export class ImageFolder {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
    for (const folder of FOLDERS) mkdirSync(join(root, folder), { recursive: true });
    symlinkSync('/run', join(root, 'var/run'));
    chmodSync(join(root, 'tmp'), 0o1777);
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  }

  /** One file, under another name where `to` says so. */
  file(from: string, to: string = from): void {
    const target = join(this.root, to);
    mkdirSync(dirname(target), { recursive: true });
    if (!existsSync(target)) copyFileSync(realpathSync(from), target);
  }

  text(to: string, content: string, mode = 0o644): void {
    const target = join(this.root, to);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, content, { mode });
  }

  link(to: string, at: string): void {
    mkdirSync(dirname(join(this.root, at)), { recursive: true });
    symlinkSync(to, join(this.root, at));
  }

  /** A program of this machine and the libraries that it loads. Throws HOST_COMMAND_FAILED and what the disk throws. */
  async program(name: string, to = `/bin/${basename(name)}`): Promise<void> {
    const path = name.startsWith('/') ? name : findProgram(name);
    this.file(path, to);
    // One that is linked statically has none, which `ldd` says by its exit code.
    const libraries = await runCommand(['ldd', path]).catch(() => '');
    for (const [library] of libraries.matchAll(/\/\S+\.so\S*/g)) this.file(library);
  }

  /** All commands of a busybox, but for those that are there already. */
  async busybox(path: string): Promise<void> {
    this.file(path, '/bin/busybox');
    for (const name of (await runCommand([path, '--list'])).trim().split('\n'))
      if (!existsSync(join(this.root, 'bin', name))) this.link('busybox', `/bin/${name}`);
  }
}

/** Packs it into the archive at `path` under `names`, such as docker.io/library/warren:0.1.0. */
export async function packImage(
  folder: ImageFolder,
  names: readonly string[],
  path: string,
  { entrypoint, cmd = [] }: ImageConfig,
): Promise<void> {
  const work = `${path}.parts`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const options = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
  await runCommand(['tar', ...options, '-C', folder.root, '-cf', join(work, 'layer.tar'), '.'], {
    timeoutMs: PACK_TIMEOUT_MS,
  });
  const layer = await sha256(join(work, 'layer.tar'));
  const config = JSON.stringify({
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: { Entrypoint: entrypoint, Cmd: cmd, Env: ['PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${layer}`] },
  });
  const configFile = `${createHash('sha256').update(config).digest('hex')}.json`;
  writeFileSync(join(work, configFile), config);
  writeFileSync(
    join(work, 'manifest.json'),
    JSON.stringify([{ Config: configFile, RepoTags: names, Layers: ['layer.tar'] }]),
  );
  await runCommand(['tar', '-C', work, '-cf', `${path}.new`, 'manifest.json', configFile, 'layer.tar'], {
    timeoutMs: PACK_TIMEOUT_MS,
  });
  renameSync(`${path}.new`, path);
  rmSync(work, { recursive: true });
}

/** What the Dockerfile makes, of this checkout's build and this machine's programs. */
export async function warrenImage(root: string): Promise<ImageFolder> {
  const folder = new ImageFolder(root);
  await folder.program(process.execPath, '/usr/local/bin/node');
  for (const name of AGENT_PROGRAMS) await folder.program(name);
  folder.link('/bin/env', '/usr/bin/env');
  for (const part of [
    'package.json',
    'dist',
    'deploy/kubernetes',
    'node_modules/koffi',
    'node_modules/@koromix',
  ]) {
    const from = packageFile(part);
    if (existsSync(from))
      cpSync(from, join(root, 'opt/warren', part), {
        recursive: true,
        filter: (path) => !path.endsWith('.map'),
      });
  }
  folder.link('/opt/warren/dist/bin/warren.js', '/usr/local/bin/warren');
  return folder;
}

function findProgram(name: string): string {
  const found = SEARCH.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`the program ${name} is not installed`);
  return found;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
