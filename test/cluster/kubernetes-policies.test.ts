/** Network policies of a Kubernetes cluster on whole agents: its API is in memory, and what is looked at is what the kernel would get. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Attachment } from '../../src/attachment/attachment.ts';
import { FakeApiServer } from '../helpers/kubernetes-api.ts';
import { MemoryRulesWithPolicies } from '../helpers/memory-policy-rules.ts';
import { World, type WorldNode } from './world.ts';

const HOUR_MS = 3_600_000;

let folder: string;
let world: World;
let server: FakeApiServer;

type Labels = Readonly<Record<string, string>>;

class Place {
  readonly rules = new MemoryRulesWithPolicies();
  readonly node: WorldNode;

  constructor(number: number) {
    const policyFolder = join(folder, String(number));
    mkdirSync(policyFolder);
    server.put(`node-${number}`, {
      addresses: [`192.0.2.${number + 1}`],
      podCidrs: [`10.42.${number + 1}.0/24`],
    });
    this.node = world.add({
      ...{ range: 'podCidrs: [10.42.0.0/16]', policyFolder, hostRules: this.rules },
      kubernetes: { server, ipam: 'kubernetes' },
    });
  }

  get memory() {
    return this.rules.memory;
  }

  /** What the runtime says: where the pod is and what it is called, and not which labels it has. */
  attach(name: string, namespace = 'shop') {
    const labels = { 'io.kubernetes.pod.namespace': namespace, 'io.kubernetes.pod.name': name };
    return this.node.commands.addPod(name, { labels });
  }

  /** As `attach` of a pod that the API knows, without an address yet. */
  async run(name: string, labels: Labels = {}, namespace = 'shop') {
    putPod(name, labels, namespace);
    await world.advance(5);
    return this.attach(name, namespace);
  }

  get problems(): string {
    return this.node.model.status().cluster.problems.join('\n');
  }
}

function putPod(
  name: string,
  labels: Labels,
  namespace = 'shop',
  more: { phase?: string; ip?: string } = {},
) {
  const { phase = 'Pending', ip } = more;
  server.putObject('pods', {
    metadata: { namespace, name, labels },
    spec: { containers: [{ ports: [{ name: 'web', containerPort: 8080 }] }] },
    status: { phase, ...(ip !== undefined && { podIP: ip, podIPs: [{ ip }] }) },
  });
}

function putPolicy(name: string, spec: object, namespace = 'shop'): void {
  server.putObject('policies', { metadata: { namespace, name }, spec });
}

const DENY_ALL = { podSelector: {}, policyTypes: ['Ingress'] };
const toDb = (from: object) => ({
  podSelector: { matchLabels: { app: 'db' } },
  ingress: [{ from: [from] }],
});
const FROM_WEB = { podSelector: { matchLabels: { app: 'web' } } };
const AWAY = () => ({ error: 'connect ECONNREFUSED' });

function goAway(): void {
  server.fault = AWAY;
  server.endWatches({ error: 'read ECONNRESET' });
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-kubernetes-policies-'));
  world = new World(1);
  server = new FakeApiServer();
  for (const name of ['shop', 'default'])
    server.putObject('namespaces', { metadata: { name, labels: { team: name } } });
});
afterEach(async () => {
  await world.stop();
  rmSync(folder, { recursive: true });
});

async function twoPlaces(): Promise<[Place, Place]> {
  const places: [Place, Place] = [new Place(0), new Place(1)];
  for (const { node } of places) await node.start();
  await world.settle();
  return places;
}

/** Resolves to what `add` was refused for, once it was, or to undefined once it was not. */
async function refusalOf(add: Promise<unknown>): Promise<{ code: string; message: string } | undefined> {
  let result: [unknown?] | undefined;
  add.then(
    () => (result = []),
    (error: unknown) => (result = [error]),
  );
  await world.until(() => result !== undefined, 15_000);
  return result![0] as never;
}

describe('policies of a Kubernetes cluster', () => {
  it('deny all, let through by labels that the API tells, follow them, and end', async () => {
    const [a, b] = await twoPlaces();
    const db = await a.run('db', { app: 'db' });
    const web = await b.run('web', { app: 'web' });
    expect(a.memory.policed).toEqual([]);
    putPolicy('deny-all', DENY_ALL);
    await world.advance(1000);
    expect(a.memory.policed).toEqual([db.hostInterface]);
    expect(b.memory.policed).toEqual([web.hostInterface]);
    expect(a.memory.letThrough).toEqual([]);
    putPolicy('db', toDb(FROM_WEB));
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual([web.addresses[0]]);
    putPod('web', { app: 'other' });
    await world.advance(200);
    expect(a.memory.letThrough).toEqual([]);
    putPod('web', { app: 'web' });
    // What selects a pod follows its labels, too.
    server.deleteObject('policies', 'shop/deny-all');
    await world.advance(200);
    expect(a.memory.letThrough).toEqual([web.addresses[0]]);
    expect(b.memory.policed).toEqual([]);
    putPod('db', { app: 'other' });
    await world.advance(200);
    expect(a.memory.policed).toEqual([]);
    putPod('db', { app: 'db' });
    await world.advance(200);
    expect(a.memory.policed).toEqual([db.hostInterface]);
    server.deleteObject('policies', 'shop/db');
    await world.advance(200);
    expect(a.memory.state.chains.size + a.memory.state.sets.size).toBe(0);
    expect(a.problems + b.problems).toBe('');
  });

  it('select namespaces by their labels, one of which is their name, also where the server gives none', async () => {
    const [a, b] = await twoPlaces();
    await a.run('db', { app: 'db' });
    const job = await b.run('job', {}, 'default');
    putPolicy('db', toDb({ namespaceSelector: { matchLabels: { team: 'default' } } }));
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual(job.addresses);
    const byName = (name: string) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } });
    putPolicy('db', toDb({ namespaceSelector: byName('default') }));
    await world.advance(200);
    expect(a.memory.letThrough).toEqual(job.addresses);
    putPolicy('db', toDb({ namespaceSelector: byName('shop') }));
    await world.advance(200);
    expect(a.memory.letThrough).not.toContain(job.addresses[0]);
    putPolicy('db', toDb({ namespaceSelector: { matchLabels: { team: 'jobs' } } }));
    await world.advance(200);
    expect(a.memory.letThrough).toEqual([]);
    server.putObject('namespaces', { metadata: { name: 'default', labels: { team: 'jobs' } } });
    await world.advance(200);
    expect(a.memory.letThrough).toEqual(job.addresses);
    // A namespace of which nothing was told lacks no label.
    const other = await b.run('early', {}, 'new');
    putPolicy(
      'db',
      toDb({ namespaceSelector: { matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] } }),
    );
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual([]);
    server.putObject('namespaces', { metadata: { name: 'new' } });
    await world.advance(200);
    expect(a.memory.letThrough).toEqual(other.addresses);
  });

  it('let nobody through who has ended, and leave a pod that ends here its rules until it is gone', async () => {
    const [a, b] = await twoPlaces();
    const db = await a.run('db', { app: 'db' });
    const web = await b.run('web', { app: 'web' });
    putPolicy('db', toDb(FROM_WEB));
    putPolicy('everybody', {
      podSelector: { matchLabels: { app: 'none' } },
      ingress: [{ from: [{ podSelector: {} }] }],
    });
    await world.advance(1000);
    expect(a.memory.letThrough).toContain(web.addresses[0]);
    putPod('web', { app: 'web' }, 'shop', { phase: 'Succeeded', ip: web.addresses[0]! });
    putPod('db', { app: 'db' }, 'shop', { phase: 'Failed' });
    await world.advance(200);
    expect(a.memory.letThrough).not.toContain(web.addresses[0]);
    expect(a.memory.policed).toEqual([db.hostInterface]);
    server.deleteObject('pods', 'shop/db');
    await world.advance(200);
    expect(a.memory.policed).toEqual([db.hostInterface]);
    await a.node.commands.removePod('db');
    await world.advance(200);
    expect(a.memory.policed).toEqual([]);
  });

  it("know pods of nodes without warren by the API, but not what has an address that is another's by now", async () => {
    const [a, b] = await twoPlaces();
    await a.run('db', { app: 'db' });
    putPolicy('db', toDb(FROM_WEB));
    putPod('elsewhere', { app: 'web' }, 'shop', { phase: 'Running', ip: '10.42.9.9' });
    const other = await b.run('other', { app: 'other' });
    putPod('gone', { app: 'web' }, 'shop', { phase: 'Running', ip: other.addresses[0]! });
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual(['10.42.9.9']);
  });

  it('are those of documents as well, which select by the same labels and are alone in the hash', async () => {
    const [a] = await twoPlaces();
    const db = await a.run('db', { app: 'db' });
    putPolicy('db', toDb(FROM_WEB));
    await world.advance(1000);
    expect((await (await a.node.commands.policies()).list()).hash).toBeNull();
    server.deleteObject('policies', 'shop/db');
    await world.advance(1000);
    expect(a.memory.policed).toEqual([]);
    const document = {
      ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
      ...{ metadata: { name: 'db', namespace: 'shop' }, spec: toDb(FROM_WEB) },
    };
    const policies = await a.node.commands.policies();
    await policies.change({ apply: [document] });
    expect(a.memory.policed).toEqual([db.hostInterface]);
    putPolicy('db', DENY_ALL);
    await world.advance(1000);
    expect(a.problems).toMatch(
      /shop\/db of Kubernetes is not in force: this node was given a policy of the same name/,
    );
    expect((await policies.list()).policies).toMatchObject([{ name: 'shop/db', document }]);
    await policies.change({ delete: ['shop/db'] });
    await world.advance(200);
    expect(a.problems).not.toMatch(/not in force/);
    expect((await policies.list()).policies).toMatchObject([
      { name: 'shop/db', source: 'Kubernetes', pods: 1 },
    ]);
    await expect(policies.change({ delete: ['shop/db'] })).rejects.toMatchObject({
      code: 'POLICY_UNKNOWN',
      hint: 'shop/db is of Kubernetes: kubectl -n shop delete networkpolicy db',
    });
  });

  it('are explained by the names that Kubernetes has for pods, with the labels that decide', async () => {
    const [a, b] = await twoPlaces();
    await a.run('db', { app: 'db' });
    const web = await b.run('web', { app: 'web' });
    // Its status comes a moment later, and the pod is the same.
    putPod('web', { app: 'web' }, 'shop', { phase: 'Running', ip: web.addresses[0]! });
    putPod('far', { app: 'far' }, 'shop', { phase: 'Running', ip: '10.42.9.9' });
    putPolicy('db', toDb(FROM_WEB));
    await world.advance(1000);
    const policies = await a.node.commands.policies();
    const asked = async (source: string) => {
      const asking = policies.explain({ source, destination: 'shop/db', protocol: 'tcp', port: 5432 });
      await world.advance(1000);
      const { from, verdict, ends } = await asking;
      return { from: from.pod, verdict, by: ends.at(-1)!.policies };
    };
    const by = [{ policy: 'shop/db', selector: 'app=db' }];
    expect(await asked('shop/web')).toEqual({ from: 'shop/web', verdict: 'allowed', by });
    expect(await asked('web')).toEqual({ from: 'shop/web', verdict: 'allowed', by });
    expect(await asked('shop/far')).toEqual({ from: 'shop/far', verdict: 'denied', by });
  });

  it('are not looked at where the configuration says so', async () => {
    const place = new Place(0);
    place.node.kubernetesKeys = 'networkPolicies: false';
    server.fault = (path) => (path.includes('networkpolicies') ? { status: 403, body: {} } : undefined);
    await place.node.start();
    await world.settle();
    putPolicy('deny-all', DENY_ALL);
    await place.run('db');
    await world.advance(60_000);
    expect(place.memory.policed).toEqual([]);
    expect(place.problems).toBe('');
  });
});

describe('a new pod', () => {
  it('waits until the API has told of it where a policy of its namespace may select it, 10 s at most', async () => {
    const [a] = await twoPlaces();
    putPolicy('db', toDb(FROM_WEB));
    await world.advance(1000);
    const seen: string[][] = [];
    a.node.hostStep = async () => void seen.push(a.memory.policed);
    const refusal = await refusalOf(a.attach('db'));
    expect(refusal).toMatchObject({
      code: 'POLICY_LATE',
      message: expect.stringContaining('Kubernetes has not told of it yet'),
    });
    expect(a.node.links).toEqual([]);
    seen.length = 0;
    let db: Pick<Attachment, 'hostInterface'> | undefined;
    void a.attach('db').then((added) => (db = added));
    await world.advance(3000);
    expect(seen).toEqual([]);
    putPod('db', { app: 'db' });
    await world.until(() => db !== undefined, 1000);
    for (const policed of seen) expect(policed).toEqual([db!.hostInterface]);
    // Nothing selects it, whatever its labels are.
    await a.attach('job', 'default');
  });

  it('waits while pods are being listed for the first policy', async () => {
    const [a] = await twoPlaces();
    await a.run('before');
    server.fault = (path) => (path.startsWith('/api/v1/pods') ? { status: 503, body: {} } : undefined);
    putPolicy('deny-all', DENY_ALL);
    await world.advance(1000);
    expect(a.memory.policed).toEqual([]);
    expect(await refusalOf(a.attach('job', 'default'))).toMatchObject({ code: 'POLICY_LATE' });
    expect(a.problems).toMatch(
      /network policies stay as they are, and new pods wait: Kubernetes has not told all yet/,
    );
    expect(a.problems).toMatch(/does not tell of pods \(HTTP 503\)/);
    server.fault = () => undefined;
    await world.advance(60_000);
    expect(a.memory.policed).toHaveLength(1);
    expect(a.problems).toBe('');
    await a.attach('job', 'default');
  });
});

describe('without an API', () => {
  it('for an hour nothing is opened and nothing closed, and then what was missed counts', async () => {
    const [a, b] = await twoPlaces();
    const db = await a.run('db', { app: 'db' });
    const web = await b.run('web', { app: 'web' });
    putPolicy('db', toDb(FROM_WEB));
    await world.advance(1000);
    goAway();
    await world.advance(HOUR_MS);
    expect(a.memory.policed).toEqual([db.hostInterface]);
    expect(a.memory.letThrough).toEqual(web.addresses);
    expect(a.problems).toMatch(
      /does not tell of network policies and namespaces and pods \(connect ECONNREFUSED\): what it said last counts/,
    );
    // Pods that it knew come and go as before, such as one whose container begins anew.
    await b.node.commands.removePod('web');
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual([]);
    const again = await b.attach('web');
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual(again.addresses);
    putPod('web', { app: 'other' });
    server.deleteObject('policies', 'shop/db');
    putPolicy('other', toDb(FROM_WEB));
    server.fault = () => undefined;
    await world.advance(60_000);
    server.bookmark();
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual([]);
    expect(a.memory.policed).toEqual([db.hostInterface]);
    expect(a.problems).toBe('');
  });

  it('a restart leaves what is in the kernel, new pods wait, and what it says at last counts', async () => {
    const [a, b] = await twoPlaces();
    const db = await a.run('db', { app: 'db' });
    const web = await b.run('web', { app: 'web' });
    putPolicy('db', toDb(FROM_WEB));
    await world.advance(1000);
    await a.node.stop();
    goAway();
    const { applied } = a.memory;
    await a.node.start();
    await world.settle();
    await world.advance(HOUR_MS);
    expect(a.memory.applied).toBe(applied);
    expect(a.memory.policed).toEqual([db.hostInterface]);
    expect(a.memory.letThrough).toEqual(web.addresses);
    // One that nothing selects waits as well: nobody knows that here.
    expect(await refusalOf(a.attach('job', 'default'))).toMatchObject({
      code: 'POLICY_LATE',
      message: expect.stringContaining('Kubernetes has not told all yet'),
    });
    expect(a.problems).toMatch(/new pods wait: Kubernetes has not told all yet/);
    server.fault = () => undefined;
    await world.advance(60_000);
    expect(a.memory.letThrough).toEqual(web.addresses);
    expect(a.problems).toBe('');
    await a.attach('job', 'default');
  });

  it('a restart in a cluster that has no policy any more: rules go once that is known', async () => {
    const [a] = await twoPlaces();
    const db = await a.run('db', { app: 'db' });
    putPolicy('db', toDb(FROM_WEB));
    await world.advance(1000);
    await a.node.stop();
    server.deleteObject('policies', 'shop/db');
    goAway();
    await a.node.start();
    await world.advance(60_000);
    expect(a.memory.policed).toEqual([db.hostInterface]);
    server.fault = () => undefined;
    await world.advance(60_000);
    expect(a.memory.policed).toEqual([]);
  });

  it('documents of this node are in force meanwhile where the kernel has nothing, as after its own restart', async () => {
    const place = new Place(0);
    await place.node.start();
    await world.settle();
    const web = await place.node.commands.addPod('web', {});
    const document = {
      ...{ apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
      ...{ metadata: { name: 'all' }, spec: DENY_ALL },
    };
    await (await place.node.commands.policies()).change({ apply: [document] });
    await place.node.stop();
    goAway();
    place.memory.state = { sets: new Map(), chains: new Map() };
    await place.node.start();
    expect(place.memory.policed).toEqual([web.hostInterface]);
    await world.settle();
    expect(await refusalOf(place.attach('db'))).toMatchObject({ code: 'POLICY_LATE' });
  });

  it('that may be asked new pods wait, and status and log name what is missing', async () => {
    const message = 'networkpolicies.networking.k8s.io is forbidden: User "warren" cannot list resource';
    server.fault = (path) =>
      path.includes('networkpolicies') ? { status: 403, body: { message } } : undefined;
    const place = new Place(0);
    await place.node.start();
    await world.settle();
    await world.advance(1000);
    expect(place.problems).toContain(
      `the Kubernetes API does not tell of network policies (HTTP 403: ${message})`,
    );
    expect(await refusalOf(place.attach('db'))).toMatchObject({ code: 'POLICY_LATE' });
    server.fault = () => undefined;
    await world.advance(60_000);
    expect(place.problems).toBe('');
    await place.attach('db');
  });

  it('a stop ends all that is asked', async () => {
    const [a] = await twoPlaces();
    await a.run('db');
    putPolicy('db', DENY_ALL);
    await world.advance(1000);
    expect(server.watches.size).toBe(8);
    await world.stop();
    expect(server.watches.size).toBe(0);
  });
});
