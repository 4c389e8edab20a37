/** A real agent under a service manager: what it tells it, from a host without a network to its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { removeNetnsResolv } from '../../src/host/netns-resolv.ts';
import { builtFile } from '../../src/package.ts';
import { output } from '../helpers/command.ts';
import { NotifySocket } from '../helpers/notify-socket.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const WATCHDOG_US = 400_000;
/** As deploy/systemd/warren.service bounds it. */
const UNIT = readFileSync(new URL('../../deploy/systemd/warren.service', import.meta.url), 'utf8');
const CAPABILITIES = /^CapabilityBoundingSet=(.*)$/m
  .exec(UNIT)![1]!
  .split(' ')
  .map((name) => `+${name.replace('CAP_', '').toLowerCase()}`);

describeUnless(
  lacking('root', 'ip', 'nsenter', 'unshare', 'setpriv'),
  'an agent under a service manager',
  () => {
    let folder: string;
    let socket: NotifySocket;
    let agent: ChildProcess | undefined;
    let log = '';

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'warren-service-test-'));
      // At a path: abstract addresses are seen in one network namespace alone.
      socket = new NotifySocket(join(folder, 'notify'));
      log = '';
    });
    afterEach(() => {
      agent?.kill('SIGKILL');
      socket.close();
      rmSync(folder, { recursive: true });
    });

    function writeConfig(more = ''): string {
      const file = join(folder, 'config.yaml');
      const state = `stateDir: ${folder}/state, socket: ${folder}/agent.sock`;
      writeFileSync(file, `node: {name: unit-test, ${state}}\ncluster: {podCidrs: [10.42.0.0/16]}\n${more}`);
      return file;
    }

    test('waits for a network, is ready with the overlay, lives, reloads, stops', async () => {
      const file = writeConfig();
      const bounded = ['setpriv', '--no-new-privs', `--bounding-set=-all,${CAPABILITIES.join(',')}`, '--'];
      const argv = [process.execPath, builtFile('bin/warren'), 'agent', '-c', file];
      agent = spawn('unshare', ['--net', '--', ...bounded, ...argv], {
        env: { ...process.env, NOTIFY_SOCKET: socket.name, WATCHDOG_USEC: String(WATCHDOG_US) },
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      agent.stderr!.on('data', (text) => {
        log += text;
      });
      const ended = once(agent, 'exit');
      await socket.message(/^EXTEND_TIMEOUT_USEC=\d+$/);
      await socket.message(/^STATUS=waiting for an underlay address: .*no default route$/);
      expect(socket.poll().some((text) => text.includes('READY'))).toBe(false);

      const ip = (...args: string[]) =>
        output(['nsenter', `--net=/proc/${agent!.pid}/ns/net`, 'ip', ...args]);
      await ip('link', 'add', 'e0', 'type', 'veth', 'peer', 'name', 'e1');
      await ip('address', 'add', '192.0.2.1/24', 'dev', 'e0');
      await ip('link', 'set', 'e0', 'up');
      await ip('link', 'set', 'e1', 'up');
      await ip('route', 'add', 'default', 'via', '192.0.2.254');
      expect(await socket.message(/^READY=1$/m)).toMatch(/STATUS=the overlay is up: 10\.42\.\d+\.0\/24$/);
      let seen = socket.poll().length;
      await socket.message(/^WATCHDOG=1$/, { from: seen });

      writeConfig('staticPods: [web]\nlog: {level: debug}\n');
      agent.kill('SIGHUP');
      await socket.message(/^RELOADING=1\nMONOTONIC_USEC=\d+$/, { from: seen });
      await socket.message(/^READY=1$/, { from: seen });
      expect(log).toContain('the configuration was read again');
      // A pod is all that needs the capabilities.
      expect(log).toMatch(/attachment is ready id=web/);

      seen = socket.poll().length;
      agent.kill('SIGTERM');
      await socket.message(/^STOPPING=1/, { from: seen });
      expect(await ended).toEqual([0, null]);
      await output(['ip', 'netns', 'delete', 'warren-unit-test-web']);
      await removeNetnsResolv('warren-unit-test-web');
    });

    test('ends at once with code 0 while it waits', async () => {
      const argv = [process.execPath, builtFile('bin/warren'), 'agent', '-c', writeConfig()];
      agent = spawn('unshare', ['--net', '--', ...argv], {
        env: { ...process.env, NOTIFY_SOCKET: socket.name },
        stdio: ['ignore', 'ignore', 'ignore'],
      });
      const ended = once(agent, 'exit');
      await socket.message(/^STATUS=waiting/);
      agent.kill('SIGTERM');
      expect(await ended).toEqual([0, null]);
    });
  },
);
