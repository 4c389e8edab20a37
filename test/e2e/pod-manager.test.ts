/**
 * Pods as the built agent makes them where its host is a container: /proc/sys mounted read-only, and with or
 * without the capability that network namespaces take.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NO_NETNS, type ThrowawayNetns, throwawayNetns } from '../helpers/throwaway-netns.ts';

const dist = new URL('../../dist/', import.meta.url).href;

/** Adds a pod, reads back what protects it, removes it; prints what happened as JSON. */
const program = `
const { PodManager } = await import(${JSON.stringify(`${dist}pod/pod-manager.js`)});
const { parsePrefix } = await import(${JSON.stringify(`${dist}ip/prefix.js`)});
const { silentLogger } = await import(${JSON.stringify(`${dist}log/logger.js`)});
const { readSysctl, setSysctls } = await import(${JSON.stringify(`${dist}host/sysctl.js`)});
const [node, stateDir] = process.argv.slice(1);
const pods = new PodManager({
  nodeName: node, nodeId: node, stateDir, subnets: [parsePrefix('10.42.3.0/24'), parsePrefix('fd42::/64')],
  mtu: 1400, gsoMaxSegments: 44, staticPods: [], log: silentLogger,
});
const outcome = {};
try {
  const { netns, hostInterface } = await pods.add('web');
  outcome.rpFilter = await readSysctl('net/ipv4/conf/' + hostInterface + '/rp_filter');
  outcome.acceptRa = await readSysctl('net/ipv6/conf/eth0/accept_ra', { netns });
  outcome.hostAcceptRa = await readSysctl('net/ipv6/conf/' + hostInterface + '/accept_ra');
  await pods.remove('web');
} catch ({ code, message, hint }) {
  outcome.podError = { code, message, hint };
}
try {
  await setSysctls(['net/ipv6/conf/all/forwarding'], '1');
} catch ({ code, message, hint }) {
  outcome.sysctlError = { code, message, hint };
}
outcome.pods = pods.list();
console.log(JSON.stringify(outcome));
`;

const READ_ONLY = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"';

describe.skipIf(NO_NETNS)(`in a container${NO_NETNS ? ` (skipped: ${NO_NETNS})` : ''}`, () => {
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
      [
        `--net=${node.path}`,
        '--',
        'unshare',
        ...inside,
        '--input-type=module',
        '-e',
        program,
        node.name,
        stateDir,
      ],
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
