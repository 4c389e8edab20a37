/** What an agent needs of root's capabilities: those that docker-compose.yml adds, and what is said where one is missing. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'labcaps';
const LIMIT_MS = 30_000;
const NEEDED = ['net_admin', 'net_raw', 'net_bind_service', 'sys_admin'];

describeUnless(lacking('root', 'ip', 'ping', 'nsenter', 'nft', 'setpriv'), "an agent's capabilities", () => {
  let lab: Lab;
  let node: LabNode;

  beforeAll(async () => {
    lab = await Lab.up({
      name: NAME,
      nodes: 1,
      pods: ['web'],
      start: false,
      config: () => ({ egress: { masquerade: true } }),
    });
    node = lab.nodes[0]!;
  });
  afterAll(() => Lab.remove(NAME));

  const warren = (capabilities: readonly string[], ...args: string[]) => [
    'setpriv',
    `--bounding-set=-all,${capabilities.map((name) => `+${name}`).join(',')}`,
    '--inh-caps=-all',
    '--no-new-privs',
    process.execPath,
    WARREN_PROGRAM,
    ...args,
  ];
  const agent = (capabilities: readonly string[]) => warren(capabilities, 'agent', '-c', node.configFile);
  const without = (one: string) => NEEDED.filter((name) => name !== one);

  async function runs(capabilities: readonly string[], body: () => Promise<void>): Promise<void> {
    const child = node.spawn(agent(capabilities), { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    try {
      const deadline = performance.now() + LIMIT_MS;
      for (;;) {
        const status = await node
          .client()
          .status()
          .catch(() => undefined);
        // Active a moment later than the lease: threads start in between. With its addresses pods can be made.
        if (status?.datapath.active && status.tun.addresses.length > 0) break;
        if (performance.now() > deadline) throw new Error('the agent did not get its subnet');
        await delay(50);
      }
      await body();
    } finally {
      child.kill('SIGTERM');
      await ended;
    }
  }
  async function hasPod(): Promise<boolean> {
    const deadline = performance.now() + LIMIT_MS;
    while ((await node.client().pods())[0]?.status !== 'ready') {
      if (performance.now() > deadline) return false;
      await delay(50);
    }
    return true;
  }

  test('without NET_ADMIN the agent ends and says so', async () => {
    // Before the first start: it may open a device that is there already.
    const { code, stderr } = await node.exec(agent(without('net_admin')));
    expect(code).toBe(1);
    expect(stderr).toContain('--cap-add NET_ADMIN');
  });

  test('these do for pods, rules and a check', async () => {
    await runs(NEEDED, async () => {
      expect(await hasPod()).toBe(true);
      const { code, stdout, stderr } = await node.exec(warren(NEEDED, 'check', '-s', node.socket));
      expect({ code, stdout, stderr }).toMatchObject({ code: 0 });
      const problems = async () => (await node.client().status()).cluster.problems;
      await expect.poll(problems, { timeout: LIMIT_MS }).toEqual([]);
      // The way out is made beside the overlay, and waits for nothing of it.
      const ruleset = async () => (await node.exec(['nft', 'list', 'table', 'inet', 'warren'])).stdout;
      await expect.poll(ruleset, { timeout: LIMIT_MS }).toContain('masquerade');
    });
  });

  test('without NET_RAW everything works but the check, which says so', async () => {
    await runs(without('net_raw'), async () => {
      expect(await hasPod()).toBe(true);
      const { code, stderr } = await node.exec(warren(without('net_raw'), 'check', '-s', node.socket));
      expect(code).toBe(2);
      expect(stderr).toContain('NET_RAW');
    });
  });

  test('without NET_BIND_SERVICE no names are answered, which it says', async () => {
    await runs(without('net_bind_service'), async () => {
      // Names are served a moment after packets are.
      const problems = async () => (await node.client().status()).cluster.problems.join();
      await expect.poll(problems, { timeout: LIMIT_MS }).toContain('port 53 needs CAP_NET_BIND_SERVICE');
    });
  });

  test('without SYS_ADMIN pods cannot be made, and the command says so', async () => {
    await runs(without('sys_admin'), async () => {
      const { code, stderr } = await node.exec(
        warren(without('sys_admin'), 'pod', 'add', 'db', '-s', node.socket),
      );
      expect(code).toBe(1);
      expect(stderr).toContain('CAP_SYS_ADMIN');
    });
  });
});
