/**
 * A Docker engine on a node of a lab, in the node's network namespace, with folders and a place for plugins of its own.
 * Its one image is made of programs of this machine.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';

const START_TIMEOUT_MS = 60_000;
/** Debian's rather than another one that comes first in the PATH. */
const DOCKER = existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker';
/** Of the engine. */
export const CONFIG = '{\n  "live-restore": true\n}\n';

export interface Said {
  readonly code: number | null;
  readonly text: string;
}

export class DockerHost {
  readonly node: LabNode;
  readonly folder: string;
  #engine: ChildProcess | undefined;
  #keeper: ChildProcess | undefined;

  constructor(node: LabNode, folder: string) {
    this.node = node;
    this.folder = folder;
    mkdirSync(join(folder, 'plugins'), { recursive: true });
    mkdirSync('/run/docker/plugins', { recursive: true });
    writeFileSync(this.configFile, CONFIG);
  }

  get pluginSocket(): string {
    return join(this.folder, 'plugins', 'warren.sock');
  }

  get configFile(): string {
    return join(this.folder, 'daemon.json');
  }

  get #host(): string {
    return join(this.folder, 'docker.sock');
  }

  /** As `DOCKER_HOST` has it. */
  get engine(): string {
    return `unix://${this.#host}`;
  }

  enable(): string {
    const places = [
      '--plugin',
      this.pluginSocket,
      '--engine',
      this.#host,
      '--daemon-config',
      this.configFile,
    ];
    return this.warren('enable', ...places);
  }

  warren(...argv: string[]): string {
    const all = [WARREN_PROGRAM, 'docker', ...argv, '--socket', this.node.socket];
    return execFileSync(process.execPath, all, { encoding: 'utf8' });
  }

  async start(): Promise<void> {
    await this.#keep();
    const argv = [
      ...['--target', String(this.#keeper!.pid), '--net', '--mount', '--', 'dockerd'],
      ...['--host', `unix://${this.#host}`, '--data-root', `${this.folder}/data`],
      ...['--exec-root', `${this.folder}/exec`, '--pidfile', `${this.folder}/dockerd.pid`],
      ...['--config-file', this.configFile],
    ];
    const log = openSync(this.logFile, 'a');
    this.#engine = spawn('nsenter', argv, { stdio: ['ignore', log, log] });
    closeSync(log);
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (this.docker('version').code !== 0) {
      if (performance.now() > deadline || this.#engine.exitCode !== null)
        throw new Error(`dockerd does not start: ${this.log().slice(-2000)}`);
      await delay(100);
    }
  }

  /** The mounts of containers outlive an engine, so they are in a namespace that does. */
  async #keep(): Promise<void> {
    if (this.#keeper !== undefined) return;
    const script = `mount --bind ${this.folder}/plugins /run/docker/plugins && echo ready && exec sleep 3600`;
    const argv = [
      `--net=${this.node.netns}`,
      'unshare',
      '-m',
      '--propagation',
      'private',
      'sh',
      '-c',
      script,
    ];
    this.#keeper = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(this.#keeper.stdout!, 'data');
  }

  get logFile(): string {
    return join(this.folder, 'dockerd.log');
  }

  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  docker(...argv: string[]): Said {
    const { status, stdout, stderr } = spawnSync(DOCKER, ['--host', `unix://${this.#host}`, ...argv], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    return { code: status, text: `${stdout}${stderr}`.trim() };
  }

  /** For several at the same time. */
  async dockerAtOnce(...argv: string[]): Promise<Said> {
    const child = spawn(DOCKER, ['--host', `unix://${this.#host}`, ...argv], { stdio: 'pipe' });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk));
    const [code] = await once(child, 'close');
    return { code: code as number | null, text: text.trim() };
  }

  /** What it says; throws where it fails, with what the engine had to complain of. */
  done(...argv: string[]): string {
    const { code, text } = this.docker(...argv);
    if (code === 0) return text;
    const complaints = this.log()
      .split('\n')
      .filter((line) => /level=(warning|error)/.test(line));
    throw new Error([`docker ${argv.join(' ')}: ${text}`, ...complaints.slice(-20)].join('\n'));
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    if (this.#engine === undefined || this.#engine.exitCode !== null) return;
    const ended = once(this.#engine, 'exit');
    this.#engine.kill(signal);
    await ended;
    await this.#containerdIsGone();
  }

  /**
   * An engine that is killed takes its containerd along, which may take a moment to die. One that starts meanwhile takes the
   * old one for running, by its process id alone, waits for its socket and gives up after 15 s.
   */
  async #containerdIsGone(): Promise<void> {
    const file = join(this.folder, 'exec', 'containerd', 'containerd.pid');
    if (!existsSync(file)) return;
    const pid = readFileSync(file, 'utf8').trim();
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (isRunning(pid)) {
      if (performance.now() > deadline) throw new Error(`containerd (${pid}) does not end`);
      await delay(20);
    }
    rmSync(file, { force: true });
  }

  async stop(): Promise<void> {
    if (this.#engine === undefined) return;
    const all = this.docker('ps', '-aq').text.split('\n').filter(Boolean);
    if (all.length > 0) this.docker('rm', '-f', ...all);
    await this.end('SIGTERM');
    this.#keeper?.kill('SIGKILL');
  }
}

/** One that has ended and that nobody has waited for does not count, though its id is still taken. */
function isRunning(pid: string): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** A root folder with these programs and the libraries that they want, as an archive for `docker import`. */
export function imageArchive(folder: string): string {
  const root = join(folder, 'image');
  const archive = join(folder, 'image.tar');
  const programs = ['sh', 'sleep', 'ping', 'ip', 'true'].map((name) =>
    execFileSync('which', [name], { encoding: 'utf8' }).trim(),
  );
  const place = (from: string, to: string) => {
    mkdirSync(dirname(join(root, to)), { recursive: true });
    cpSync(realpathSync(from), join(root, to));
  };
  for (const name of ['etc', 'tmp', 'proc', 'sys', 'dev']) mkdirSync(join(root, name), { recursive: true });
  for (const from of [...programs, process.execPath]) {
    place(from, `/bin/${from.slice(from.lastIndexOf('/') + 1)}`);
    const libraries = execFileSync('ldd', [from], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g);
    for (const [, library] of libraries) place(library!, library!);
  }
  execFileSync('tar', ['-cf', archive, '-C', root, '.']);
  return archive;
}
