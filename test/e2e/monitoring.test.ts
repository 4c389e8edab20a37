/**
 * A real Prometheus scrapes the agents of a lab with the files of deploy/monitoring: it takes every metric and rule, no alert
 * is wrong about a lab in which all is well, and each query of the dashboard has something to show.
 */
import type { ChildProcess } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse as parseYaml, stringify } from 'yaml';
import { Lab } from '../../src/lab/lab.ts';
import { ROOT } from '../helpers/markdown.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const MONITORING = join(ROOT, 'deploy/monitoring');
const PORT = 9095;

/** What a query says; empty: nothing. */
interface Found {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

describeUnless(lacking('root', 'ip', 'nsenter', 'prometheus'), 'Prometheus', () => {
  const folder = mkdtempSync(join(tmpdir(), 'warren-monitoring-'));
  let lab: Lab;
  let prometheus: ChildProcess;

  beforeAll(async () => {
    const config = (node: { underlayAddress: string }) => ({
      api: { listen: `${node.underlayAddress}:${PORT}` },
    });
    lab = await Lab.up({ name: 'mon', nodes: 2, pods: 1, config });
    cpSync(MONITORING, folder, { recursive: true });
    const own = parseYaml(readFileSync(join(folder, 'prometheus.yml'), 'utf8'));
    own.global = { scrape_interval: '1s', evaluation_interval: '1s' };
    own.scrape_configs[0].static_configs[0].targets = lab.nodes.map(
      (node) => `${node.underlayAddress}:${PORT}`,
    );
    writeFileSync(join(folder, 'prometheus.yml'), stringify(own));
    const argv = [
      'prometheus',
      `--config.file=${folder}/prometheus.yml`,
      `--storage.tsdb.path=${folder}/data`,
    ];
    prometheus = lab.node(0).spawn([...argv, '--web.listen-address=127.0.0.1:9090'], { stdio: 'ignore' });
    const pods = await Promise.all([lab.pod(0, 'pod-1'), lab.pod(1, 'pod-1')]);
    await pods[0]!.exec(['ping', '-c', '20', '-i', '0.2', pods[1]!.address(4)]);
  });
  afterAll(async () => {
    prometheus?.kill('SIGKILL');
    await lab?.down();
    rmSync(folder, { recursive: true });
  });

  /** All in one program, which is most of what a question costs. */
  async function ask(...paths: string[]): Promise<unknown[]> {
    const program = `Promise.all(${JSON.stringify(paths)}.map((path) => fetch('http://127.0.0.1:9090/api/v1/' + path)
      .then((answer) => answer.json(), () => ({})))).then((all) => console.log(JSON.stringify(all)))`;
    const { stdout } = await lab.node(0).exec([process.execPath, '-e', program]);
    return (JSON.parse(stdout) as { data?: unknown }[]).map(({ data }) => data);
  }

  async function query(...expressions: string[]): Promise<(readonly Found[])[]> {
    const all = await ask(...expressions.map((expr) => `query?query=${encodeURIComponent(expr)}`));
    return (all as ({ result: Found[] } | undefined)[]).map((data) => data?.result ?? []);
  }

  test('takes all that the agents say', async () => {
    // Rates take two scrapes.
    const counts = async () => (await query('rate(process_cpu_seconds_total[5s])'))[0]!.length;
    await expect.poll(counts, { timeout: 20_000, interval: 500 }).toBe(2);
    expect((await query('up'))[0]!.map(({ value }) => value[1])).toEqual(['1', '1']);
    const [targets] = (await ask('targets')) as { activeTargets: { lastError: string }[] }[];
    expect(targets!.activeTargets.map(({ lastError }) => lastError)).toEqual(['', '']);
    const seen = await query(
      'warren_handshake_duration_seconds_count > 0',
      'warren_attach_duration_seconds_count > 0',
      'warren_probe_rtt_seconds_count > 0',
    );
    // One of two nodes begins.
    expect(seen.map(({ length }) => length > 0)).toEqual([true, true, true]);
  });

  test('every rule is evaluated, and none finds anything wrong', async () => {
    const [answer] = (await ask('rules')) as {
      groups: { rules: { name: string; health: string; state: string }[] }[];
    }[];
    const rules = answer!.groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(15);
    for (const { name, health, state } of rules) {
      expect([name, health]).toEqual([name, 'ok']);
      // On a machine that stands still for a moment this is true. It tells nobody of it for ten minutes.
      const isOfTheMachine = name === 'WarrenEventLoopLate' && state === 'pending';
      if (!isOfTheMachine) expect([name, state]).toEqual([name, 'inactive']);
    }
  });

  test('every query of the dashboard has something to show', async () => {
    const dashboard = JSON.parse(readFileSync(join(MONITORING, 'grafana-dashboard.json'), 'utf8')) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };
    const targets = dashboard.panels.flatMap(({ title, targets: all }) =>
      all.map(({ expr }) => ({ title, expr })),
    );
    const filled = (expr: string) =>
      expr
        .replaceAll('$instance', '.*')
        .replaceAll('$job', 'warren')
        .replaceAll(/\$__(rate_interval|range)/g, '5s');
    const found = await query(...targets.map(({ expr }) => filled(expr)));
    const empty = targets.filter((_, i) => found[i]!.length === 0);
    expect(empty).toEqual([]);
    expect(found.length).toBeGreaterThan(20);
  });
});
