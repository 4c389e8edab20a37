/**
 * Pods as an agent makes them where its host is a container: /proc/sys mounted read-only, and with or
 * without the capability that network namespaces take.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NO_NETNS, type ThrowawayNetns, throwawayNetns } from '../helpers/throwaway-netns.ts';

const SOURCE = fileURLToPath(new URL('../helpers/pod-program.ts', import.meta.url));
const READ_ONLY = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"';

describe.skipIf(NO_NETNS)(`in a container${NO_NETNS ? ` (skipped: ${NO_NETNS})` : ''}`, () => {
  let folder: string;
  let program: string;
  beforeAll(async () => {
    // Inside the checkout, so that it finds package.json; Node runs no TypeScript everywhere yet.
    folder = mkdtempSync(fileURLToPath(new URL('../../dist/pod-program-', import.meta.url)));
    program = join(folder, 'pod-program.js');
    await build({ input: SOURCE, platform: 'node', output: { file: program, format: 'esm' } });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  let node: ThrowawayNetns;
  let stateDir: string;
  beforeEach(() => {
    node = throwawayNetns();
    // The node's overlay address, which the agent has given it before there are pods.
    node.run('ip', 'address', 'add', '10.42.3.1/32', 'dev', 'lo');
    stateDir = mkdtempSync(join(tmpdir(), 'warren-pods-test-'));
  });
  afterEach(() => {
    node.remove();
    rmSync(stateDir, { recursive: true });
  });

  function run(...prefix: string[]): Record<string, unknown> {
    const inside = ['--mount', '--', 'sh', '-c', READ_ONLY, 'sh', ...prefix, process.execPath];
    const { stdout, stderr, status } = spawnSync(
      'nsenter',
      [`--net=${node.path}`, '--', 'unshare', ...inside, program, node.name, stateDir],
      { encoding: 'utf8' },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  it('with CAP_SYS_ADMIN, settings are written past the read-only /proc/sys', () => {
    expect(run()).toEqual({ rpFilter: '1', acceptRa: '0', hostAcceptRa: '0', pods: [] });
    expect(node.run('cat', '/proc/sys/net/ipv6/conf/all/forwarding')).toBe('1\n');
  });

  it('without it, errors say which capability and which setting of the container are missing', () => {
    expect(run('setpriv', '--bounding-set', '-sys_admin')).toMatchObject({
      podError: {
        code: 'POD_NETNS_FORBIDDEN',
        message: expect.stringContaining(`cannot make the network namespace warren-${node.name}-web`),
        hint: expect.stringContaining('cap_add: [SYS_ADMIN, NET_ADMIN]'),
      },
      sysctlError: {
        code: 'SYSCTL_READ_ONLY',
        message: 'cannot set net.ipv6.conf.all.forwarding to 1: /proc/sys is mounted read-only here',
        hint: expect.stringContaining('sysctls: ["net.ipv6.conf.all.forwarding=1"]'),
      },
      pods: [],
    });
  });
});
