/** `warren cni install` on a host without Node: a debootstrapped root without libstdc++ either. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { cleanUp } from '../helpers/agent-cleanup.ts';
import { debianArchive } from '../helpers/base-image.ts';
import { callPlugin } from '../helpers/cni-plugin.ts';
import { blocks, commands, readDocument } from '../helpers/markdown.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { throwawayNetns } from '../helpers/throwaway-netns.ts';

describeUnless(lacking('root', 'ip', 'nsenter', 'debootstrap'), 'installing the CNI plugin', () => {
  let lab: Lab;
  let root: string;
  let conflist: string;

  beforeAll(async () => {
    root = mkdtempSync('/var/tmp/warren-cni-root-');
    conflist = join(root, 'etc/cni/net.d/10-warren.conflist');
    execFileSync('tar', ['-xpf', await debianArchive(), '-C', root]);
    for (const path of readdirSync(join(root, 'usr/lib'), { recursive: true, encoding: 'utf8' }))
      if (path.includes('libstdc++.so')) rmSync(join(root, 'usr/lib', path));
    lab = await Lab.up({ name: 'cniinstall', nodes: 1, pods: 0 });
  });
  afterAll(async () => {
    await lab?.down();
    rmSync(root, { recursive: true, force: true });
  });

  const warren = (...argv: string[]) =>
    spawnSync(process.execPath, [WARREN_PROGRAM, 'cni', ...argv, '--socket', lab.node(0).socket], {
      encoding: 'utf8',
    });
  const bin = () => join(root, 'opt/cni/bin');
  const versions = () => readdirSync(join(bin(), 'warren-cni.d'));

  test('without an agent it puts the plugin there alone, and takes it away', async () => {
    await lab.node(0).stop();
    const installed = warren('install', '--root', root);
    expect(installed, installed.stderr).toMatchObject({ status: 0 });
    expect(installed.stdout).toContain('No agent runs');
    expect(existsSync(join(bin(), 'warren-cni'))).toBe(true);
    expect(existsSync(conflist)).toBe(false);
    expect(warren('uninstall', '--root', root).status).toBe(0);
    expect(readdirSync(bin())).toEqual([]);
    const refused = warren('install', '--root', '/proc');
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('of the kernel') });
    lab.node(0).start();
    await lab.ready();
  });

  test('puts a plugin there that needs nothing of the host, and the agent announces it', async () => {
    const node = lab.node(0);
    const installed = warren('install', '--root', root);
    expect(installed, installed.stderr).toMatchObject({ status: 0 });
    expect(installed.stdout).toContain(`${conflist} is there`);
    expect(existsSync(join(root, 'usr/bin/node'))).toBe(false);
    const [version] = versions();
    expect(readdirSync(join(bin(), 'warren-cni.d', version!, 'lib'))).toContain('libstdc++.so.6');
    // Whatever the runtime's environment is.
    const env = { CNI_COMMAND: 'VERSION', NODE_OPTIONS: '--no-such-option', NODE_EXTRA_CA_CERTS: '/none' };
    const said = spawnSync('chroot', [root, '/opt/cni/bin/warren-cni'], {
      env: { PATH: process.env.PATH, ...env },
      input: '{}',
      encoding: 'utf8',
    });
    expect(said, said.stderr).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(said.stdout).supportedVersions).toContain('1.1.0');

    const list = JSON.parse(readFileSync(conflist, 'utf8'));
    expect(list).toMatchObject({ cniVersion: '1.0.0', name: 'warren' });
    const { capabilities, ...config } = list.plugins[0];
    const netns = throwawayNetns();
    try {
      const call = { containerId: 'c', netns: netns.path, config, plugin: join(bin(), 'warren-cni'), env };
      const added = await callPlugin(node, 'ADD', { ...call, env: { NODE_OPTIONS: '--no-such-option' } });
      expect(added.exitCode, added.text).toBe(0);
      expect((await callPlugin(node, 'DEL', { ...call, env: {} })).exitCode).toBe(0);
    } finally {
      netns.remove();
    }
  });

  test('once more takes the place of the one before, which is there over restarts of the agent', async () => {
    const before = versions();
    const text = readFileSync(conflist, 'utf8');
    await lab.node(0).stop();
    expect(readFileSync(conflist, 'utf8')).toBe(text);
    lab.node(0).start();
    await lab.ready();
    mkdirSync(join(bin(), 'warren-cni.d', 'left-by-a-crash'));
    expect(warren('install', '--root', root).status).toBe(0);
    expect(versions()).toHaveLength(1);
    expect(versions()).not.toEqual(before);
  });

  test('taking it away works without an agent, for good', async () => {
    await lab.node(0).stop();
    expect(warren('uninstall', '--root', root).status).toBe(0);
    lab.node(0).start();
    await lab.ready();
    expect([readdirSync(bin()), existsSync(conflist)]).toEqual([[], false]);
    expect(warren('install', '--root', root).status).toBe(0);
    expect(existsSync(conflist)).toBe(true);
    expect(warren('uninstall', '--root', root).status).toBe(0);
    expect([readdirSync(bin()), existsSync(conflist)]).toEqual([[], false]);
  });

  test('its documentation shows no command that is not run here', () => {
    const shown = blocks(readDocument('docs/cni.md')).filter(({ language }) => language === 'console');
    expect(shown.flatMap(commands).map(({ line }) => line)).toEqual([
      'warren cni install',
      'warren cni uninstall',
    ]);
  });

  test('what an agent leaves on a host goes with --cleanup, the network configuration too', async () => {
    const node = lab.node(0);
    expect(warren('install', '--root', root).status).toBe(0);
    await node.stop();
    await cleanUp(node);
    expect(existsSync(conflist)).toBe(false);
    node.start();
    await lab.ready();
    expect(warren('uninstall', '--root', root).status).toBe(0);
  });

  test('a host with musl is told so, and nothing is left there', () => {
    const musl = mkdtempSync('/var/tmp/warren-cni-musl-');
    try {
      mkdirSync(join(musl, 'lib'));
      writeFileSync(join(musl, 'lib/ld-musl-x86_64.so.1'), '');
      const refused = warren('install', '--root', musl);
      expect(refused).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('has musl as its C library'),
      });
      expect(readdirSync(join(musl, 'opt/cni/bin'))).toEqual([]);
      expect(existsSync(join(musl, 'etc'))).toBe(false);
    } finally {
      rmSync(musl, { recursive: true });
    }
  });
});
