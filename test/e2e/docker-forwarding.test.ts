/** Pods on a host where Docker has set the policy of FORWARD to DROP, by each of the two kinds of iptables. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LabHost } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { cleanUp } from '../helpers/agent-cleanup.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { promised } from '../helpers/promised.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'labdocker';
const PROMISED_MS = 2_000;
/** For an answer that does not come. */
const PING_MS = 1_000;

/** What Docker 20.10 makes in the table `filter`, with its default bridge and nothing published. */
const DOCKER = `*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
`;

const needs = ['root', 'ip', 'ping', 'nsenter', 'nft', 'iptables-nft', 'iptables-legacy'];
describeUnless(lacking(...needs), 'a host with Docker', () => {
  describe.each(['nft', 'legacy'] as const)('whose iptables is %s', (variant) => {
    let lab: Lab;
    let node: LabNode;
    let outside: LabHost;
    const programs = [`iptables-${variant}`, `ip6tables-${variant}`];

    beforeAll(async () => {
      lab = await Lab.up({
        name: NAME,
        nodes: 2,
        pods: 1,
        start: false,
        config: () => ({ egress: { masquerade: true } }),
      });
      outside = await lab.addHost('outside');
      node = lab.nodes[0]!;
      await mustRun(node, ['ip', 'link', 'add', 'docker0', 'type', 'bridge']);
      for (const one of lab.nodes) await startDocker(one);
      for (const one of lab.nodes) one.start();
      await lab.ready();
    });
    afterAll(() => Lab.remove(NAME));

    async function startDocker(one: LabNode): Promise<void> {
      for (const program of programs) {
        await mustRun(one, [`${program}-restore`, '--noflush'], { input: DOCKER });
      }
    }
    const rules = async (one: LabNode = node) => {
      const listed = await Promise.all(programs.map((program) => mustRun(one, [program, '-S'])));
      return listed.join('');
    };
    const allPings = async () => {
      const pod = await lab.pod(0, 'pod-1');
      const targets = [
        ...(await lab.pod(1, 'pod-1')).addresses,
        outside.addresses.ipv4,
        outside.addresses.ipv6,
      ];
      for (const address of targets) {
        if ((await pod.exec(['ping', '-n', '-c1', '-W1', address])).code !== 0) return false;
      }
      return true;
    };
    const within = (what: string, holds: () => Promise<boolean>, lookMs?: number) =>
      promised(holds, {
        withinMs: PROMISED_MS,
        ...(lookMs !== undefined && { lookMs }),
        otherwise: async () => `${what}\n${await rules()}`,
      });

    test('pods reach each other and the outside', async () => {
      await within('all answer', allPings, PING_MS);
      const problems = async () => (await node.client().status()).cluster.problems;
      await expect.poll(problems, { timeout: 30_000 }).toEqual([]);
    });

    test("what goes to Docker's bridge is left to Docker", async () => {
      expect(await rules()).toContain('-A WARREN-warren0 -o docker0 -j RETURN');
    });

    test('the jump is back when Docker has made its chain anew', async () => {
      const { rule } = (await node.client().status()).repairs;
      for (const program of programs) {
        await mustRun(node, [program, '-D', 'FORWARD', '-j', 'DOCKER-USER']);
        await mustRun(node, [program, '-F', 'DOCKER-USER']);
        await mustRun(node, [program, '-X', 'DOCKER-USER']);
      }
      expect(await allPings()).toBe(false);
      // What the legacy one does shows to its own programs alone.
      const problems = async () => (await node.client().status()).cluster.problems.join();
      const found = /iptables drops .*ip6tables drops /;
      if (variant === 'nft') await expect.poll(problems, { timeout: 30_000 }).toMatch(found);
      for (const program of programs) {
        await mustRun(node, [program, '-N', 'DOCKER-USER']);
        await mustRun(node, [program, '-A', 'DOCKER-USER', '-j', 'RETURN']);
        await mustRun(node, [program, '-I', 'FORWARD', '-j', 'DOCKER-USER']);
      }
      // Docker that starts sets its bridge up, which is all that there is to notice of it without iptables-nft.
      if (variant === 'legacy') await mustRun(node, ['ip', 'link', 'set', 'docker0', 'up']);
      await within(
        'the jump',
        async () => (await rules()).split('DOCKER-USER -j WARREN-warren0').length === 3,
      );
      await within('all answer', allPings, PING_MS);
      await within('it is counted', async () => (await node.client().status()).repairs.rule! > rule!);
    });

    test('--cleanup takes out the jump and the chain', async () => {
      await node.stop();
      await cleanUp(node);
      const left = await rules();
      expect(left).not.toContain('WARREN');
      expect(left).toContain('-A DOCKER-USER -j RETURN');
    });
  });
});
