/** When rules are made, and what counters of the kernel come to. */
import { beforeEach, describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/ip/address.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { AttachedPods } from '../../../src/policy/attached.ts';
import { Denials } from '../../../src/policy/denials.ts';
import { Enforcer, type LocalPod } from '../../../src/policy/enforcer.ts';
import type { NetworkPolicy } from '../../../src/policy/schema.ts';
import { gather, type PolicySource, type SourcedPod } from '../../../src/policy/source.ts';
import { hashOf } from '../../../src/policy/stored.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { MemoryPolicyRules } from '../../helpers/memory-policy-rules.ts';

const pod = (name: string, address: string, labels: Readonly<Record<string, string>> = {}): SourcedPod => ({
  ...{ namespace: 'default', name, labels, ports: [], hostNetwork: false },
  addresses: [parseAddress(address)],
});
const policy = (name: string, annotations: Record<string, string> = {}): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, annotations },
  spec: { ingress: [{ from: [{ podSelector: {} }] }] },
});

class MemorySource implements PolicySource {
  readonly name = 'orchestrator';
  ready = true;
  podList: SourcedPod[] = [];
  policyList: NetworkPolicy[] = [];
  readonly #listeners = new Set<() => void>();
  isReady = () => this.ready;
  pods = () => this.podList;
  namespaces = () => [];
  policies = () => this.policyList;
  onChange(listener: () => void) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

let clock: VirtualClock;
let rules: MemoryPolicyRules;
let source: MemorySource;
let enforcer: Enforcer;
let local: LocalPod[];

beforeEach(() => {
  clock = new VirtualClock();
  rules = new MemoryPolicyRules();
  source = new MemorySource();
  local = [{ interfaceName: 'wp1', pod: pod('web', '10.42.1.2') }];
  source.podList = [local[0]!.pod];
  source.policyList = [policy('all')];
  enforcer = new Enforcer({
    ...{ rules, clock, log: silentLogger, tunName: 'warren0', podRanges: [], sources: [source] },
    ...{ local: () => local, onChange: () => {} },
  });
});

describe('rules', () => {
  it('stay as they were found until every source knows all, and new pods wait for that, 10 s at most', async () => {
    source.ready = false;
    rules.left = async () => new Map([['policy_warren0_policed', ['wp1']]]);
    await enforcer.start();
    await clock.run(5000);
    expect(rules.applied).toBe(0);
    expect(enforcer.problems()).toEqual([
      'network policies stay as they are, and new pods wait: orchestrator has not told all yet',
    ]);
    let admitted = false;
    const late = enforcer.admit('web').catch((error: unknown) => error);
    await clock.run(10_500);
    expect(await late).toMatchObject({
      code: 'POLICY_LATE',
      message: expect.stringContaining('orchestrator'),
    });
    void enforcer.admit('web').then(() => (admitted = true));
    await clock.run(1000);
    expect(admitted).toBe(false);
    source.ready = true;
    source.changed();
    await clock.run(200);
    expect(admitted).toBe(true);
    expect(rules.policed).toEqual(['wp1']);
    await enforcer.stop();
  });

  it('follow many changes at once, and stay when the agent ends', async () => {
    await enforcer.start();
    const before = rules.applied;
    for (let i = 0; i < 100; i++) {
      source.podList = [...source.podList, pod(`p${i}`, `10.42.2.${i + 1}`)];
      source.changed();
    }
    await clock.run(100);
    expect(rules.applied - before).toBeLessThanOrEqual(2);
    expect(rules.letThrough).toHaveLength(101);
    await enforcer.stop();
    source.policyList = [];
    source.changed();
    await clock.run(1000);
    expect(rules.policed).toEqual(['wp1']);
  });
});

describe('counters', () => {
  it('are added up by policy, over attachments that come and go, and logged once for each pod', async () => {
    source.policyList = [policy('all'), policy('other'), policy('new', { 'warren.io/staged': 'true' })];
    await enforcer.start();
    const lines: object[] = [];
    const log = {
      ...silentLogger,
      warn: (fields: object) => lines.push(fields),
    } as unknown as typeof silentLogger;
    rules.counters.set('denied_in_wp1', 5);
    const denials = new Denials({ rules, clock, log, inForce: () => enforcer.inForce });
    denials.start();
    expect(denials.packets()).toEqual([]);
    rules.connections.denied = [
      {
        ...{ source: '192.0.2.1', destination: '10.42.1.2', family: 4, protocol: 'tcp', port: 22 },
        ...{ packets: 3, ageSeconds: 1 },
      },
    ];
    rules.counters.set('denied_in_wp1', 8);
    rules.counters.set('trial_in_wp1', 1);
    // Somebody asks for metrics before the log is thought of.
    denials.packets();
    await clock.run(5100);
    const count = (name: string, packets: number, isStaged = false) => ({
      ...{ policy: `default/${name}`, direction: 'ingress', packets, isStaged },
    });
    expect(denials.packets()).toEqual([count('all', 3), count('other', 3), count('new', 1, true)]);
    expect(lines).toEqual([
      {
        ...{
          pod: 'default/web',
          direction: 'ingress',
          policies: ['default/all', 'default/other'],
          packets: 3,
        },
        ...{ from: '192.0.2.1', to: '10.42.1.2', what: 'tcp 22' },
      },
    ]);
    // The attachment was made anew, and its counter with it.
    rules.counters.set('denied_in_wp1', 2);
    await clock.run(60_000);
    expect(denials.packets()[0]).toEqual(count('all', 5));
    expect(lines).toHaveLength(1);
    rules.counters.set('denied_in_wp1', 3);
    await clock.run(3_600_000);
    rules.counters.set('denied_in_wp1', 4);
    await clock.run(10_000);
    expect(lines).toHaveLength(2);
    await denials.stop();
    await enforcer.stop();
  });
});

describe('what is attached', () => {
  it('is a pod of the namespace and with the labels that its own labels say', () => {
    const one = (labels: Record<string, string>) => ({
      name: 'x',
      addresses: [],
      labels,
      hostInterface: 'wp1',
    });
    const pods = new AttachedPods({
      local: () => [
        one({ 'warren.namespace': 'shop', 'io.kubernetes.pod.namespace': 'kube' }),
        one({ 'warren.namespace': 'shop', 'warren.labels': 'app=web, tier=front,=,x', tier: 'own' }),
        { ...one({}), remote: true },
      ],
      others: () => [],
      onChange: () => () => {},
    });
    const found = [...pods.pods()];
    expect(found.map(({ namespace }) => namespace)).toEqual(['kube', 'shop', 'default']);
    expect(found[1]!.labels).toMatchObject({ app: 'web', tier: 'own' });
    expect([...pods.namespaces()].map(({ name }) => name)).toEqual(['kube', 'shop', 'default']);
    expect(pods.local()).toHaveLength(2);
  });

  it('of two sources that know an address is the first one', () => {
    const other = new MemorySource();
    other.podList = [pod('other', '10.42.1.2'), pod('more', '10.42.1.3')];
    other.policyList = [policy('all'), policy('more')];
    const all = gather([source, other]);
    expect(all.pods.map(({ name, addresses }) => [name, addresses.length])).toEqual([
      ['web', 1],
      ['more', 1],
    ]);
    expect(all.policies.map(({ metadata }) => metadata.name)).toEqual(['all', 'more']);
  });
});

describe('the hash of documents', () => {
  it('is that of what they say, in whatever order they and their keys are', () => {
    const [a, b] = [policy('a'), policy('b')];
    const turned = {
      spec: a.spec,
      metadata: a.metadata,
      kind: a.kind,
      apiVersion: a.apiVersion,
    } as NetworkPolicy;
    expect(hashOf([a, b])).toMatch(/^[0-9a-f]{32}$/);
    expect(hashOf([b, turned])).toBe(hashOf([a, b]));
    expect(hashOf([a])).not.toBe(hashOf([a, b]));
    expect(hashOf([{ ...a, spec: {} }, b])).not.toBe(hashOf([a, b]));
  });
});
