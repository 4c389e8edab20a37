/**
 * The commands that README.md and docs/operations.md show, run as they stand on hosts such as the reader's. What a
 * document shows of the output must be there too. Every command that is shown is run here, or named below with
 * who runs it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { RouteReport, StatusReport } from '../../src/readmodel/reports.ts';
import { DocumentHost } from '../helpers/document-host.ts';
import { type Block, blocks, commands, readDocument, section } from '../helpers/markdown.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { comparable, Substitution } from '../helpers/shown-output.ts';

const LAB = 'documents';
/** For what comes a moment later, be the machine busy. */
const LIMIT_MS = 60_000;
const README = readDocument('README.md');
const OPERATIONS = readDocument('docs/operations.md');
const BY_HAND = section(README, 'A cluster of two nodes by hand');
const STATIC_PEERS = section(OPERATIONS, 'Static peers');

const RUN_ELSEWHERE: readonly (readonly [RegExp, string])[] = [
  [/^npm (ci|test|run)\b/, 'npm: .ci/run calls it, and every test runs what it builds'],
  [/^docker-compose /, 'test/e2e/docker-compose.test.ts'],
  [/^examples\/compose-two-hosts\//, 'test/e2e/docker-driver.test.ts'],
  [/^systemctl /, 'there is no systemd here'],
  [/^warren capture /, 'test/e2e/capture.test.ts'],
];

const isConsole = ({ language }: Block) => language === 'console';
const yamlOf = (text: string) => blocks(text).find(({ language }) => language === 'yaml')!.text;

describeUnless(
  lacking('root', 'ip', 'ping', 'nsenter', 'unshare', 'nft', 'ethtool'),
  'the documentation',
  () => {
    const ran = new Set<string>();
    const real = new Substitution();
    let lab: Lab;
    let a: DocumentHost;
    let b: DocumentHost;
    let legacy: DocumentHost;

    beforeAll(async () => {
      lab = await Lab.up({ name: LAB, nodes: 3, pods: 0, start: false });
      const hosts = lab.nodes.map((node, i) =>
        DocumentHost.start(['node-a', 'node-b', 'legacy'][i]!, node.netns),
      );
      [a, b, legacy] = (await Promise.all(hosts)) as [DocumentHost, DocumentHost, DocumentHost];
      // A second address would be the source of what it sends.
      const { code } = await legacy.run('ip address flush dev eth0 && ip address add 192.0.2.9/24 dev eth0');
      expect(code).toBe(0);
    });
    afterAll(async () => {
      for (const host of [a, b, legacy]) await host?.stop();
      await Lab.remove(LAB);
    });

    /** Runs a command of the document on the host that its prompt names. `line`: with other words in place. */
    async function run(host: DocumentHost, shown: string, output: readonly string[], line = shown) {
      ran.add(shown);
      if (line.startsWith('warren agent') && !line.endsWith('--cleanup')) {
        host.startInTerminal(line);
        return;
      }
      const { code, stdout, stderr } = await host.run(real.apply(line));
      expect(code, `${host.name}: ${line}\n${stdout}${stderr}`).toBe(0);
      if (output.length === 0) return;
      const printed = stdout.trimEnd().split('\n');
      real.learn(output, printed);
      expect(comparable(printed), line).toEqual(comparable(output.map((one) => real.apply(one))));
    }

    async function runAll(text: string, host: (name: string | undefined) => DocumentHost): Promise<void> {
      for (const block of blocks(text).filter(isConsole)) {
        for (const { host: name, line, output } of commands(block)) {
          if (RUN_ELSEWHERE.some(([pattern]) => pattern.test(line))) continue;
          if (line.startsWith('scp ')) {
            // There is no SSH server; what it is to do is done.
            ran.add(line);
            await b.writeFile('/etc/warren/cluster.key', await a.readFile('/etc/warren/cluster.key'));
          } else if (!line.endsWith('--cleanup')) {
            await run(host(name), line, output);
            if (line.startsWith('warren agent')) await settled(host(name));
          }
        }
      }
    }

    /** Packets flow, to so many other nodes too. */
    async function settled(host: DocumentHost, peers = 0): Promise<void> {
      const deadline = performance.now() + LIMIT_MS;
      for (;;) {
        const [status, routes] = await Promise.all([
          host.run('warren status --json'),
          host.run('warren routes --json'),
        ]);
        if (status.code === 0 && routes.code === 0) {
          const others = (JSON.parse(routes.stdout) as RouteReport[]).filter(({ via }) => via !== 'local');
          const { datapath, tun } = JSON.parse(status.stdout) as StatusReport;
          // One of each family.
          if (datapath.active && tun.addresses.length > 0 && others.length >= 2 * peers) return;
        }
        if (performance.now() > deadline) throw new Error(`${host.name} is not settled: ${status.stdout}`);
        await delay(50);
      }
    }

    const onHost = (name: string | undefined): DocumentHost => {
      const host = [a, b, legacy].find((one) => one.name === name);
      if (host === undefined) throw new Error(`no host is called ${name}`);
      return host;
    };

    test('the README builds a cluster of two nodes', async () => {
      const config = yamlOf(BY_HAND);
      for (const host of [a, b]) await host.writeFile('/etc/warren/warren.yaml', config);
      const [before, after] = BY_HAND.split('A pod on each, and from one to the other:') as [string, string];
      await runAll(before, onHost);
      await Promise.all([settled(a, 1), settled(b, 1)]);
      await runAll(after, onHost);
    });

    test('the operations manual: versions and the configuration', async () => {
      for (const title of ['Install', 'Configuration']) await runAll(section(OPERATIONS, title), () => a);
    });

    test('the operations manual: another cluster key', async () => {
      const keys = async () => {
        const { stdout } = await a.run('warren key list --json');
        return JSON.parse(stdout) as {
          keys: { fingerprint: string; nodes: number; primary: boolean; primaryOn: number }[];
        };
      };
      const old = (await keys()).keys.find(({ primary }) => primary)!.fingerprint;
      const shown = blocks(section(OPERATIONS, 'Keys')).filter(isConsole).flatMap(commands);
      expect(shown.map(({ line }) => line.split(' ')[2])).toEqual(['add', 'list', 'use', 'remove']);
      for (const { line, output } of shown) {
        const added = (await keys()).keys.find(({ fingerprint }) => fingerprint !== old)?.fingerprint ?? '';
        await run(a, line, output, line.replace('NEW-FINGERPRINT', added).replace('OLD-FINGERPRINT', old));
        // As the manual says: not before every node has it, and seals with it. What is removed goes from node to node too.
        const isSpread = async () => {
          const listed = (await keys()).keys;
          if (line.includes('key add')) return listed.every(({ nodes }) => nodes === 2);
          if (line.includes('key remove')) return listed.length === 1;
          return listed.some(({ fingerprint, primaryOn }) => fingerprint === added && primaryOn === 2);
        };
        if (!/key (add|use|remove)/.test(line)) continue;
        const deadline = performance.now() + LIMIT_MS;
        while (!(await isSpread())) {
          expect(performance.now()).toBeLessThan(deadline);
          await delay(50);
        }
      }
      expect((await keys()).keys).toMatchObject([{ primary: true, nodes: 2 }]);
      expect((await a.run('warren check')).code).toBe(0);
    });

    test('the operations manual: who may take part', async () => {
      const { node } = JSON.parse((await a.run('warren status --json')).stdout) as StatusReport;
      const approved = async (host: DocumentHost) =>
        (JSON.parse((await host.run('warren status --json')).stdout) as StatusReport).cluster.admission;
      const configure = async (line: string) => {
        for (const host of [a, b]) {
          const config = (await host.readFile('/etc/warren/warren.yaml')).replace(
            /^cluster:.*\n/m,
            (cluster) => `${cluster}  ${line}\n`,
          );
          await host.writeFile('/etc/warren/warren.yaml', config);
          const { code, stdout, stderr } = await host.run('warren reload');
          expect(code, stdout + stderr).toBe(0);
        }
      };
      await configure(`approvers: [${node.id}]`);
      await runAll(section(OPERATIONS, 'Who may take part'), () => a);
      const deadline = performance.now() + LIMIT_MS;
      while ((await approved(b)).approved !== 2) {
        expect(performance.now()).toBeLessThan(deadline);
        await delay(50);
      }
      await configure('admission: allowlist');
      expect(await approved(b)).toEqual({ mode: 'allowlist', approved: 2, pending: 0, revoked: 0 });
      expect((await a.run('warren check')).code).toBe(0);
    });

    test('nodes are taken down for good', async () => {
      expect(await a.interrupt()).toEqual([0]);
      const cleanup = blocks(BY_HAND)
        .filter(isConsole)
        .flatMap(commands)
        .find(({ line }) => line.endsWith('--cleanup'))!;
      await run(a, cleanup.line, cleanup.output);
      expect((await a.run('ip -brief link; ip netns')).stdout).not.toMatch(/warren|wp/);
      for (const { line, output } of blocks(section(OPERATIONS, 'Restart, upgrade, removal'))
        .filter(isConsole)
        .flatMap(commands)) {
        if (!RUN_ELSEWHERE.some(([pattern]) => pattern.test(line))) await run(b, line, output);
      }
      // Its agent has ended by itself.
      expect(await b.ended()).toEqual([0]);
      expect((await b.run('ip -brief link; ls /var/lib')).stdout).not.toMatch(/warren|wp/);
    });

    test('the operations manual joins a host without an agent', async () => {
      await a.run('rm -r /var/lib/warren');
      await a.writeFile('/etc/warren/warren.yaml', yamlOf(STATIC_PEERS));
      await runAll(STATIC_PEERS, onHost);
    });

    test('no command is shown that nobody runs', () => {
      const shown = [README, OPERATIONS]
        .flatMap(blocks)
        .filter(isConsole)
        .flatMap((block) => commands(block).map(({ line }) => line));
      const left = shown.filter(
        (line) => !ran.has(line) && !RUN_ELSEWHERE.some(([pattern]) => pattern.test(line)),
      );
      expect(left).toEqual([]);
    });
  },
);
