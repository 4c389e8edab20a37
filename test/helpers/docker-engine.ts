/**
 * A Docker engine for a test: the one that runs on this machine, or one of the test's own, started from
 * Debian's docker.io (or any dockerd) and stopped afterwards without a trace: its data in a temporary
 * folder, its default bridge its own, no packet filter rules.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ipBatch } from '../../src/host/ip.ts';
import { runCommand } from '../../src/lab/command.ts';
import { hasProgram, lacking } from './requirements.ts';

export interface DockerEngine {
  /** Environment of docker and docker-compose, so that they talk to this engine. */
  readonly env: NodeJS.ProcessEnv;
  /** `docker-compose`, or `docker compose` where only the newer one is there. */
  readonly compose: readonly string[];
  /** Stops the engine if it was started here. */
  close(): Promise<void>;
}

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 30_000;
// Of the range for benchmarks (RFC 2544), next to docker-compose.yml's.
const BRIDGE_ADDRESS = '198.18.43.1/24';

/**
 * An engine, or the reason why none can be had on this machine. Containers of the networks that are to be
 * made have addresses of `subnet`.
 */
export async function findDockerEngine(subnet: string): Promise<DockerEngine | string> {
  const missing = lacking('root', 'docker');
  if (missing !== undefined) return missing;
  const compose = await findCompose();
  if (compose === undefined) return 'docker-compose is not installed';
  if (await answers(process.env)) return { env: process.env, compose, close: async () => {} };
  if (!hasProgram('dockerd')) return 'no Docker engine answers, and dockerd is not installed';
  return startEngine(compose, subnet);
}

async function findCompose(): Promise<readonly string[] | undefined> {
  if (hasProgram('docker-compose')) return ['docker-compose'];
  const { code } = await runCommand(['docker', 'compose', 'version']);
  return code === 0 ? ['docker', 'compose'] : undefined;
}

async function answers(env: NodeJS.ProcessEnv): Promise<boolean> {
  const { code } = await runCommand(['docker', 'version', '--format', '{{.Server.Version}}'], {
    timeoutMs: 20_000,
    env,
  });
  return code === 0;
}

async function startEngine(compose: readonly string[], subnet: string): Promise<DockerEngine | string> {
  // Not in /tmp, which may be memory.
  const folder = mkdtempSync('/var/tmp/warren-docker-');
  const host = `unix://${folder}/docker.sock`;
  // Not `none`: an engine without a bridge removes docker0, which may be another's.
  const bridge = `wdt${randomBytes(4).toString('hex')}`;
  await ipBatch([
    ['link', 'add', bridge, 'type', 'bridge'],
    ['addr', 'add', BRIDGE_ADDRESS, 'dev', bridge],
  ]);
  // An engine that ran before may have left the machine's FORWARD policy at DROP, bridged frames included.
  const forward = [
    'FORWARD',
    '-s',
    subnet,
    '-d',
    subnet,
    '-j',
    'ACCEPT',
    '-m',
    'comment',
    '--comment',
    bridge,
  ];
  await runCommand(['iptables', '-w', '-I', ...forward]);
  const logFile = join(folder, 'dockerd.log');
  const log = openSync(logFile, 'a');
  const args = [
    ['--host', host, '--data-root', `${folder}/data`, '--exec-root', `${folder}/exec`],
    ['--pidfile', `${folder}/dockerd.pid`, '--bridge', bridge, '--iptables=false', '--ip-forward=false'],
  ].flat();
  const child = spawn('dockerd', args, { stdio: ['ignore', log, log] });
  closeSync(log);
  const ended = once(child, 'exit').catch((error: Error) => [error.message]);
  const close = async (): Promise<void> => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
    await runCommand(['iptables', '-w', '-D', ...forward]);
    await ipBatch([['link', 'del', bridge]]);
    for (const path of mountsUnder(folder)) await runCommand(['umount', '--lazy', path]);
    rmSync(folder, { recursive: true, force: true });
  };
  const env = { ...process.env, DOCKER_HOST: host };
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (!(await answers(env))) {
    if (child.exitCode !== null || child.signalCode !== null || performance.now() > deadline) {
      const lastLines = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-3).join(' | ');
      await close();
      return `dockerd does not start here: ${lastLines}`;
    }
    await delay(200);
  }
  return { env, compose, close };
}

/** Mount points in `folder`, the inner ones first: an engine that has ended leaves some. */
function mountsUnder(folder: string): string[] {
  const paths = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '');
  return paths.filter((path) => path.startsWith(`${folder}/`)).reverse();
}
