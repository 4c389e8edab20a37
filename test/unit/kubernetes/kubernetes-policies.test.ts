/** Policies, pods and namespaces of a cluster whose API is in memory, in virtual time: what is asked when, and what counts. */
import { expect, it } from 'vitest';
import type { Answer, KubernetesApi, WatchListener } from '../../../src/kubernetes/api.ts';
import { KubernetesPolicies } from '../../../src/kubernetes/kubernetes-policies.ts';
import { listSpreadMs, relistDelayMs } from '../../../src/kubernetes/retry.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

function harness() {
  const clock = new VirtualClock();
  const listed = new Map<string, object[]>();
  const watches = new Map<string, WatchListener>();
  const server: { fault: Answer | undefined } = { fault: undefined };
  const kindOf = (path: string) => /(\w+)\?/.exec(path)![1]!;
  const api: KubernetesApi = {
    server: 'https://192.0.2.200:6443',
    ask: ({ path }, done) =>
      clock.after(1, () =>
        done(
          server.fault ?? {
            status: 200,
            body: { metadata: { resourceVersion: '1' }, items: listed.get(kindOf(path)) ?? [] },
          },
        ),
      ),
    watch: (path, listener) => {
      watches.set(kindOf(path), listener);
      return { cancel: () => watches.delete(kindOf(path)) };
    },
    close: () => {},
  };
  const source = new KubernetesPolicies({
    ...{ api, clock, log: silentLogger, random: () => 0.5, nodeCount: () => 3, onProblem: () => {} },
  });
  const tell = (kind: string, object: object) => watches.get(kind)!.line({ type: 'ADDED', object });
  return { clock, listed, watches, server, source, tell };
}

const metadata = (name: string) => ({ namespace: 'shop', name, resourceVersion: '2' });
const POLICY = { metadata: metadata('db'), spec: { podSelector: {} } };

it('asks for pods and namespaces from the first policy on, and is not ready before it has them', () => {
  const { clock, listed, watches, source, tell } = harness();
  listed.set('pods', [{ metadata: metadata('web'), spec: {}, status: { podIP: '10.42.1.2' } }]);
  const seen: boolean[] = [];
  source.onChange(() => seen.push(source.isReady()));
  source.start();
  expect(source.isReady()).toBe(false);
  clock.advance(10);
  expect([...watches.keys()]).toEqual(['networkpolicies']);
  expect(seen.splice(0)).toEqual([true]);
  tell('networkpolicies', POLICY);
  expect(source.isReady()).toBe(false);
  clock.advance(10);
  expect([...watches.keys()].sort()).toEqual(['namespaces', 'networkpolicies', 'pods']);
  expect(source.isReady()).toBe(true);
  expect(seen.at(-1)).toBe(true);
  expect(source.pod('shop', 'web')).toBeDefined();
  source.stop();
  expect(watches.size).toBe(0);
});

it('lists policies within a second or two where the server knows no place of before, and keeps them meanwhile', () => {
  const { clock, listed, watches, source, tell } = harness();
  source.start();
  clock.advance(10);
  tell('networkpolicies', POLICY);
  clock.advance(10);
  listed.set('networkpolicies', [{ ...POLICY, metadata: metadata('other') }]);
  watches.get('networkpolicies')!.end({ status: 410, body: {} });
  clock.advance(400);
  expect([...source.policies()].map(({ metadata: { name } }) => name)).toEqual(['db']);
  clock.advance(1100);
  expect([...source.policies()].map(({ metadata: { name } }) => name)).toEqual(['other']);
  expect(source.isReady()).toBe(true);
  source.stop();
  // 100 agents and 1,000 policies, 10,000 pods; 10,000 agents as for Nodes at most.
  const latest = (nodes: number, pages: number) => relistDelayMs(1, nodes, 0.999, listSpreadMs(nodes, pages));
  expect(latest(100, 4)).toBeLessThan(3000);
  expect(latest(100, 40)).toBeLessThan(22_000);
  expect(latest(10_000, 800)).toBeLessThan(1_200_000);
});

it('is told that somebody else has policies, before its start and after it', () => {
  for (const isEarly of [true, false]) {
    const { clock, watches, source } = harness();
    if (isEarly) source.needPods();
    source.start();
    if (!isEarly) source.needPods();
    clock.advance(10);
    expect([...watches.keys()].sort()).toEqual(['namespaces', 'networkpolicies', 'pods']);
    source.stop();
  }
});

it('says that it may not ask, and keeps what it knew while the API is away', () => {
  const { clock, server, watches, source, tell } = harness();
  server.fault = { status: 403, body: { message: 'forbidden' } };
  source.start();
  clock.advance(10);
  expect(source.isReady()).toBe(false);
  expect(source.problems()).toEqual([
    'the Kubernetes API does not tell of network policies (HTTP 403: forbidden): what it said last counts',
  ]);
  server.fault = undefined;
  clock.advance(60_000);
  expect(source.problems()).toEqual([]);
  tell('networkpolicies', POLICY);
  clock.advance(10);
  server.fault = { error: 'connect ECONNREFUSED' };
  for (const { end } of [...watches.values()]) end({ error: 'read ECONNRESET' });
  clock.advance(3_600_000);
  expect(source.isReady()).toBe(true);
  expect([...source.policies()]).toHaveLength(1);
  expect(source.problems().length).toBeGreaterThan(0);
  source.stop();
});
