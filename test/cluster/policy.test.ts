/** Network policies on whole agents: documents, the rules that follow from what all nodes have attached, and when. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { REPLACE_METHOD } from '../../src/policy/method.ts';
import { MemoryRulesWithPolicies } from '../helpers/memory-policy-rules.ts';
import { type NodeOptions, World, type WorldNode } from './world.ts';

let folder: string;
let world: World;

class Place {
  readonly rules = new MemoryRulesWithPolicies();
  readonly node: WorldNode;

  constructor(name: string, options: NodeOptions = {}) {
    const policyFolder = join(folder, name);
    mkdirSync(policyFolder);
    this.node = world.add({ ...options, policyFolder, hostRules: this.rules });
  }

  get memory() {
    return this.rules.memory;
  }

  async change(change: Parameters<Awaited<ReturnType<WorldNode['commands']['policies']>>['change']>[0]) {
    return (await this.node.commands.policies()).change(change);
  }

  async add(name: string, labels: Readonly<Record<string, string>> = {}) {
    return this.node.commands.addPod(name, { labels });
  }

  get problems(): string {
    return this.node.model.status().cluster.problems.join('\n');
  }
}

/** Pods `app: db` are reached by those with `app: web` alone. */
const policy = (name = 'db', from = 'web') => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name },
  spec: {
    podSelector: { matchLabels: { app: 'db' } },
    ingress: [{ from: [{ podSelector: { matchLabels: { app: from } } }] }],
  },
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-policy-cluster-'));
  world = new World(1);
});
afterEach(async () => {
  await world.stop();
  rmSync(folder, { recursive: true });
});

async function twoPlaces(options: NodeOptions = {}): Promise<[Place, Place]> {
  const places: [Place, Place] = [new Place('a', options), new Place('b', options)];
  for (const { node } of places) await node.start();
  await world.settle();
  return places;
}

describe('policies from documents', () => {
  it('are in force here, and follow pods of all nodes within a second', async () => {
    const [a, b] = await twoPlaces();
    const db = await a.add('db', { app: 'db' });
    expect(a.memory.applied).toBe(0);
    const report = await a.change({ apply: [policy()] });
    expect(report).toEqual({
      ...{ applied: ['default/db'], deleted: [], sent: [], unreachable: [] },
      differing: ['node-1'],
    });
    expect(a.memory.policed).toEqual([db.hostInterface]);
    expect(a.memory.letThrough).toEqual([]);
    const web = await b.add('web', { app: 'web' });
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual([web.addresses[0]]);
    await b.node.commands.removePod('web');
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual([]);
    await a.change({ delete: ['db'] });
    expect(a.memory.state.chains.size + a.memory.state.sets.size).toBe(0);
    await expect(a.change({ delete: ['db'] })).rejects.toMatchObject({ code: 'POLICY_UNKNOWN' });
    await expect(a.change({ apply: [{ ...policy(), spec: { ingres: [] } }] })).rejects.toMatchObject({
      code: 'POLICY_INVALID',
    });
  });

  it('that nodes have others of are a problem of both, until one sends its own', async () => {
    const [a, b] = await twoPlaces();
    await world.advance(1000);
    expect(a.problems).toBe('');
    const db = await b.add('db', { app: 'db' });
    await a.change({ apply: [policy()] });
    await world.advance(2000);
    expect(a.problems).toMatch(/other network policies than here are on node-1/);
    expect(b.problems).toMatch(/other network policies than here are on node-0/);
    expect(b.memory.policed).toEqual([]);
    // It is loaded when it is needed, which takes time that does not pass here.
    await b.node.commands.policies();
    const asked = a.change({ all: true });
    await world.advance(1000);
    expect(await asked).toMatchObject({ applied: [], sent: ['node-1'], unreachable: [], differing: [] });
    await world.advance(2000);
    expect(a.problems + b.problems).toBe('');
    expect(b.memory.policed).toEqual([db.hostInterface]);
    expect((await (await b.node.commands.policies()).list()).policies).toMatchObject([
      { name: 'default/db', pods: 1, staged: false, document: policy() },
    ]);
  });

  it('are taken from nodes alone that take part in forwarding', async () => {
    const rpc = { id: 'f'.repeat(32), name: 'node-9' };
    const { Policies } = await import('../../src/agent/policies.ts');
    const served = new Map<string, (body: Uint8Array, caller: typeof rpc) => Promise<unknown>>();
    const options = {
      rpc: { serve: (method: string, handler: never) => served.set(method, handler) },
      admits: () => false,
      others: () => [],
    };
    const made = (more: object) => new Policies({ stateDir: folder }, { ...options, ...more } as never);
    for (const more of [{ isSealed: true }, { isSealed: false, admits: () => true }]) {
      made(more);
      await expect(served.get(REPLACE_METHOD)!(new Uint8Array(), rpc)).rejects.toMatchObject({
        code: 'POLICY_REFUSED',
      });
    }
  });
});

describe('a pod', () => {
  it('has rules before it has an interface', async () => {
    const [a] = await twoPlaces();
    await a.change({ apply: [policy()] });
    const seen: string[][] = [];
    a.node.hostStep = async () => void seen.push(a.memory.policed);
    const db = await a.add('db', { app: 'db' });
    expect(seen.length).toBeGreaterThan(0);
    for (const policed of seen) expect(policed).toEqual([db.hostInterface]);
  });

  it('has no interface where its rules cannot be made within 10 s', async () => {
    const [a] = await twoPlaces();
    await a.change({ apply: [policy()] });
    a.memory.failure = new Error('nft is broken');
    let refusal: unknown;
    const sinceMs = world.clock.now();
    void a.add('db', { app: 'db' }).catch((error: unknown) => {
      refusal = error;
    });
    await world.until(() => refusal !== undefined, 15_000);
    expect(refusal).toMatchObject({
      code: 'POLICY_LATE',
      message: expect.stringContaining('nft is broken'),
    });
    expect(world.clock.now() - sinceMs).toBeGreaterThanOrEqual(10_000);
    expect(a.node.links).toEqual([]);
    await world.advance(3000);
    expect(a.problems).toMatch(/network policies are not in force as they are to be: nft is broken/);
    a.memory.failure = undefined;
    await world.advance(3000);
    expect(a.problems).not.toMatch(/in force/);
    await a.add('db', { app: 'db' });
  });

  it('that gets the address of one that is gone gets nothing else of it', async () => {
    const [a] = await twoPlaces({ range: 'podCidrs: [10.42.0.0/24], nodePrefixLengths: [29]' });
    await a.change({ apply: [policy()] });
    await a.add('db', { app: 'db' });
    const web = await a.add('web', { app: 'web' });
    expect(a.memory.letThrough).toEqual(web.addresses);
    await a.node.commands.removePod('web');
    let seen: readonly string[] = ['nothing yet'];
    a.node.hostStep = async () => {
      seen = a.memory.letThrough;
    };
    for (let i = 0; ; i++) {
      const next = await a.add(`other-${i}`, { app: 'other' });
      expect(seen).toEqual([]);
      if (next.addresses[0] === web.addresses[0]) break;
      expect(i).toBeLessThan(10);
    }
  });
});

describe('a restart', () => {
  it('has rules in force before anything else, and lets through for a while whom it cannot know yet', async () => {
    const [a, b] = await twoPlaces();
    const db = await a.add('db', { app: 'db' });
    const web = await b.add('web', { app: 'web' });
    await a.change({ apply: [policy()], all: false });
    await world.advance(1000);
    expect(a.memory.letThrough).toEqual([web.addresses[0]]);
    await a.node.stop();
    expect(a.memory.policed).toEqual([db.hostInterface]);
    world.partition([a.node], [b.node]);
    const { applied } = a.memory;
    await a.node.start();
    expect(a.memory.applied).toBeGreaterThan(applied);
    expect(a.memory.policed).toEqual([db.hostInterface]);
    expect(a.memory.letThrough).toEqual([web.addresses[0]]);
    await world.advance(12_000);
    expect(a.memory.letThrough).toEqual([]);
  });
});
