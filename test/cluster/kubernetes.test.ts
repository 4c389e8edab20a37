/** Whole agents in a Kubernetes cluster whose API is in memory: who they find, whose subnets are whose, and what they say. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApiServer } from '../helpers/kubernetes-api.ts';
import { World, type WorldNode, type WorldPod } from './world.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

let world: World;
let server: FakeApiServer;

beforeEach(() => {
  world = new World(1);
  server = new FakeApiServer();
});
afterEach(async () => {
  await world.stop();
});

const V4 = { range: 'podCidrs: [10.42.0.0/16]' };

/** A node whose Node is there, with the podCIDRs that the controller manager gave it. */
function add(ipam: 'warren' | 'kubernetes', podCidrs: readonly string[] = [], range: object = V4): WorldNode {
  const number = world.nodes.length;
  server.put(`node-${number}`, { addresses: [`192.0.2.${number + 1}`], podCidrs });
  return world.add({ ...range, kubernetes: { server, ipam } });
}

async function cluster(count: number, ipam: 'warren' | 'kubernetes' = 'kubernetes'): Promise<WorldNode[]> {
  const nodes = Array.from({ length: count }, (_, i) => add(ipam, [`10.42.${i + 1}.0/24`]));
  for (const node of nodes) await node.start();
  await world.settle(nodes);
  return nodes;
}

async function reaches(from: WorldPod, to: WorldPod): Promise<boolean> {
  const before = to.received.length;
  from.send(to.addresses[0]!);
  await world.advance(5);
  return to.received.length === before + 1;
}

function subnetsOf(node: WorldNode): string {
  const { status, subnets } = node.model.status().lease;
  return `${status} ${subnets.join(' ')}`;
}

function problemsOf(node: WorldNode): readonly string[] {
  return node.model.status().cluster.problems;
}

function condition(node: string) {
  return server.nodes.get(node)!.status.conditions.find(({ type }) => type === 'NetworkUnavailable');
}

describe('agents in a Kubernetes cluster', () => {
  it('find each other without seeds, and have the podCIDRs of their Nodes', async () => {
    const nodes = await cluster(4);
    expect(nodes.map(subnetsOf)).toEqual([1, 2, 3, 4].map((i) => `active 10.42.${i}.0/24`));
    const [web, db] = [await nodes[0]!.addPod('web'), await nodes[3]!.addPod('db')];
    expect(await reaches(web, db)).toBe(true);
    for (const [i, node] of nodes.entries()) {
      expect(problemsOf(node)).toEqual([]);
      expect(node.model.status().kubernetes).toEqual({
        server: 'https://192.0.2.200:6443',
        ipam: 'kubernetes',
        node: `node-${i}`,
        podCidrs: [`10.42.${i + 1}.0/24`],
        api: 'connected',
        awaySeconds: 0,
        nodes: 4,
      });
    }
    expect(server.counts).toMatchObject({ lists: 4, pages: 4, watches: 4, gets: 4 });
  });

  it('say on their Node that the network is there, once it is, and again where somebody says otherwise', async () => {
    const node = add('kubernetes', ['10.42.7.0/24']);
    server.put('node-0', {
      conditions: [{ type: 'NetworkUnavailable', status: 'True', reason: 'NoRouteCreated' }],
    });
    await node.start();
    expect(condition('node-0')).toMatchObject({ status: 'True', reason: 'NoRouteCreated' });
    await world.settle();
    await world.advance(1000);
    expect(condition('node-0')).toMatchObject({ status: 'False', reason: 'WarrenIsUp' });
    await world.advance(HOUR_MS);
    expect(server.counts.patches).toBe(1);
    server.put('node-0', { conditions: [{ type: 'NetworkUnavailable', status: 'True', reason: 'Cloud' }] });
    await world.advance(MINUTE_MS);
    expect(condition('node-0')).toMatchObject({ status: 'False', reason: 'WarrenIsUp' });
    expect(server.counts.patches).toBe(2);
    // Another node has had it for longer: this one's network is not there.
    server.fault = (path) =>
      path.endsWith('/status') ? { status: 403, body: { message: 'forbidden' } } : undefined;
    await node.stop();
    await node.start();
    await world.settle();
    server.put('node-0', { conditions: [] });
    await world.advance(MINUTE_MS);
    expect(problemsOf(node)).toEqual([
      'the condition NetworkUnavailable of Node node-0 cannot be set (HTTP 403: forbidden)',
    ]);
    expect(server.counts.patches).toBe(2);
  });

  it('go on for an hour without the API, through a restart too, and hear then what was missed', async () => {
    const [a, b, c] = (await cluster(3)) as [WorldNode, WorldNode, WorldNode];
    const [web, db] = [await a.addPod('web'), await b.addPod('db')];
    server.fault = () => ({ error: 'connect ECONNREFUSED' });
    server.endWatches({ error: 'read ECONNRESET' });
    server.counts.pages = 0;
    await world.advance(HOUR_MS);
    expect(await reaches(web, db)).toBe(true);
    for (const node of [a, b, c]) {
      expect(problemsOf(node)).toEqual([
        'the Kubernetes API at https://192.0.2.200:6443 does not answer as it should (connect ECONNREFUSED): what it said last counts',
      ]);
    }
    expect(a.model.status().kubernetes).toMatchObject({ api: 'away', nodes: 3 });
    await b.stop();
    await b.start();
    await world.settle();
    expect(subnetsOf(b)).toBe('active 10.42.2.0/24');
    expect(await reaches(web, b.pod('db'))).toBe(true);
    server.fault = () => undefined;
    const late = add('kubernetes', ['10.42.9.0/24']);
    await world.advance(2 * MINUTE_MS);
    expect(a.model.status().kubernetes).toMatchObject({ api: 'connected', nodes: 4 });
    expect(problemsOf(a)).toEqual([]);
    // The one that was restarted has listed; the others went on where they were.
    expect(server.counts.pages).toBe(1);
    await late.start();
    await world.settle();
    expect(subnetsOf(late)).toBe('active 10.42.9.0/24');
  });

  it('all start while the API is away, from what is on their disks', async () => {
    const nodes = await cluster(3);
    // Until all have written down whom they know.
    await world.advance(MINUTE_MS);
    for (const node of nodes) await node.kill();
    server.fault = () => ({ error: 'connect ECONNREFUSED' });
    for (const node of nodes) await node.start();
    await world.settle();
    expect(nodes.map(subnetsOf)).toEqual([1, 2, 3].map((i) => `active 10.42.${i}.0/24`));
    // One that is alone waits for others no longer than it would without Kubernetes.
    for (const node of nodes) await node.kill();
    await nodes[0]!.start();
    expect(await world.until(() => subnetsOf(nodes[0]!).startsWith('active'), 30_000)).toBeDefined();
  });

  it('a new one waits for the API, and takes no subnet of its own meanwhile', async () => {
    server.fault = () => ({ status: 503, body: { message: 'starting' } });
    const nodes = [add('warren'), add('warren')];
    for (const node of nodes) await node.start();
    await world.advance(10 * MINUTE_MS);
    expect(nodes.map(subnetsOf)).toEqual(['joining ', 'joining ']);
    server.fault = () => undefined;
    await world.advance(MINUTE_MS);
    await world.settle();
    expect(new Set(nodes.map(subnetsOf)).size).toBe(2);
  });

  it('with both families have what the API gave them, whatever numbers these have', async () => {
    const both = { range: 'podCidrs: ["fd42::/48", 10.42.0.0/16], nodePrefixLengths: [64, 24]' };
    const a = add('kubernetes', ['10.42.1.0/24', 'fd42:0:0:700::/64'], both);
    const b = add('kubernetes', ['10.42.2.0/24', 'fd42:0:0:1::/64'], both);
    await a.start();
    await b.start();
    await world.settle();
    expect([a, b].map(subnetsOf)).toEqual([
      'active fd42:0:0:700::/64 10.42.1.0/24',
      'active fd42:0:0:1::/64 10.42.2.0/24',
    ]);
    const [web, db] = [await a.addPod('web'), await b.addPod('db')];
    for (const address of db.addresses) web.send(address);
    await world.advance(5);
    expect(db.received).toHaveLength(2);
  });

  it('say what is wrong with what the API gives them, and go on when it is put right', async () => {
    const node = add('kubernetes');
    await node.start();
    await world.advance(5000);
    expect(problemsOf(node)).toEqual([
      'Node node-0 has no podCIDR: let the controller manager hand them out (--allocate-node-cidrs, --cluster-cidr)',
      'no subnet is assigned to this node',
    ]);
    for (const wrong of [['10.43.1.0/24'], ['10.42.1.0/25'], ['10.42.1.0/24', 'fd42::/64']]) {
      server.put('node-0', { podCidrs: wrong });
      await world.advance(1000);
      expect(problemsOf(node)[0]).toMatch(/^Node node-0 has the podCIDRs .*cannot be this node's subnet/);
      expect(subnetsOf(node)).toBe('joining ');
    }
    server.put('node-0', { podCidrs: ['10.42.1.0/24'] });
    await world.settle();
    expect(problemsOf(node)).toEqual([]);
    server.delete('node-0');
    await world.advance(1000);
    expect(subnetsOf(node)).toBe('active 10.42.1.0/24');
    expect(problemsOf(node)).toEqual([
      "Kubernetes has no Node node-0: it was deleted, or kubernetes.nodeName is another's",
    ]);
  });

  it('have nodes outside of Kubernetes beside them, whose subnets give way to what the API hands out', async () => {
    const [a, b] = (await cluster(2)) as [WorldNode, WorldNode];
    const outside = world.add(V4);
    await outside.start();
    await world.settle();
    const [web, app] = [await a.addPod('web'), await outside.addPod('app')];
    expect(await reaches(web, app)).toBe(true);
    expect(await reaches(app, web)).toBe(true);
    expect(problemsOf(a)).toEqual([]);
    expect(a.model.status().kubernetes).toMatchObject({ nodes: 2 });
    // The controller manager does not know of it.
    const [taken] = outside.model.status().lease.subnets;
    const c = add('kubernetes', [taken!]);
    await c.start();
    expect(await world.until(() => subnetsOf(c) === `active ${taken}`, 30_000)).toBeDefined();
    await world.until(() => subnetsOf(outside) === `lost ${taken}`, 10_000);
    expect(problemsOf(outside)[0]).toMatch(/is also leased by node-3, which keeps it/);
    expect(a.routesTo(c)).toBe(true);
    expect(b.routesTo(c)).toBe(true);
  });

  it("keep a deleted Node's subnet for its agent as long as that runs, and free it when it is gone", async () => {
    const [a, b, c] = (await cluster(3)) as [WorldNode, WorldNode, WorldNode];
    const [web, db] = [await a.addPod('web'), await b.addPod('db')];
    server.delete('node-1');
    await world.advance(MINUTE_MS);
    expect(await reaches(web, db)).toBe(true);
    const alarm =
      'Node node-1 was deleted, and its agent still runs and keeps 10.42.2.0/24: drain it, then stop the agent there, or `warren leave`';
    expect([problemsOf(a), problemsOf(c)]).toEqual([[alarm], [alarm]]);
    // Its subnet is another Node's by now.
    const d = add('kubernetes', ['10.42.2.0/24']);
    await d.start();
    await world.advance(20_000);
    expect(subnetsOf(d)).toBe('lost 10.42.2.0/24');
    expect(await reaches(web, db)).toBe(true);
    expect(problemsOf(d)[0]).toMatch(/10\.42\.2\.0\/24 is also leased by node-1, which keeps it/);
    expect(condition('node-3')).toMatchObject({ status: 'True', reason: 'WarrenIsDown' });
    await b.kill();
    expect(await world.until(() => subnetsOf(d) === 'active 10.42.2.0/24', MINUTE_MS)).toBeDefined();
    await world.advance(2 * MINUTE_MS);
    for (const node of [a, c, d]) {
      expect(problemsOf(node)).toEqual([]);
      expect(node.model.status().cluster.members).toMatchObject({ alive: 3, dead: 0 });
    }
    expect(a.routesTo(d)).toBe(true);
    expect(condition('node-3')).toMatchObject({ status: 'False' });
  });

  it('with subnets that are leased free that of a deleted Node too, and no other', async () => {
    const [a, b, c] = (await cluster(3, 'warren')) as [WorldNode, WorldNode, WorldNode];
    const outside = world.add(V4);
    await outside.start();
    await world.settle();
    await b.kill();
    await outside.kill();
    await world.advance(5 * MINUTE_MS);
    expect(a.model.status().cluster.members).toMatchObject({ alive: 2, dead: 2 });
    server.delete('node-1');
    await world.advance(5 * MINUTE_MS);
    for (const node of [a, c]) {
      expect(node.model.status().cluster.members).toMatchObject({ alive: 2, dead: 1 });
      expect(node.model.peers().map(({ name }) => name)).not.toContain('node-1');
    }
    // One that is made anew in time keeps what it had.
    await c.kill();
    await world.advance(MINUTE_MS);
    server.delete('node-2');
    await world.advance(10_000);
    server.put('node-2', { addresses: ['192.0.2.3'] });
    const before = c;
    await world.advance(5 * MINUTE_MS);
    expect(a.model.peers().map(({ name }) => name)).toContain('node-2');
    await before.start();
    await world.settle([a, c]);
  });

  it('two Nodes with one podCIDR: one of them has it, all say so, and it ends when one is changed', async () => {
    const [a, b] = (await cluster(2)) as [WorldNode, WorldNode];
    await a.addPod('web');
    const c = add('kubernetes', ['10.42.1.0/24']);
    await c.start();
    await world.advance(20_000);
    expect([subnetsOf(a), subnetsOf(c)]).toEqual(['active 10.42.1.0/24', 'lost 10.42.1.0/24']);
    for (const node of [a, b, c]) {
      expect(problemsOf(node)).toContain(
        '10.42.1.0/24 is the podCIDR of node-0 and node-2: delete all but one of these Nodes',
      );
      expect(node.model.routes().find(({ prefix }) => prefix === '10.42.1.0/24')?.via).not.toBe('node-2');
    }
    server.put('node-2', { podCidrs: ['10.42.3.0/24'] });
    await world.settle();
    for (const node of [a, b, c]) expect(problemsOf(node)).toEqual([]);
  });

  it('a podCIDR that is changed under pods: they go on, until another Node has it, or they are gone', async () => {
    const [a, b] = (await cluster(2)) as [WorldNode, WorldNode];
    const [web, db] = [await a.addPod('web'), await b.addPod('db')];
    server.put('node-1', { podCidrs: ['10.42.5.0/24'] });
    await world.advance(5000);
    expect(await reaches(web, db)).toBe(true);
    expect(problemsOf(b)[0]).toMatch(
      /10\.42\.5\.0\/24 is assigned to this node, and its pods run in 10\.42\.2\.0\/24/,
    );
    const c = add('kubernetes', ['10.42.2.0/24']);
    await c.start();
    expect(await world.until(() => subnetsOf(c) === 'active 10.42.2.0/24', 20_000)).toBeDefined();
    await world.advance(5000);
    expect(subnetsOf(b)).toBe('lost 10.42.2.0/24');
    expect(a.routesTo(c)).toBe(true);
    await b.commands.removePod('db');
    await world.settle();
    expect(subnetsOf(b)).toBe('active 10.42.5.0/24');
  });

  it('believe the API more than a node that says what it was assigned', async () => {
    const [a, b] = (await cluster(2)) as [WorldNode, WorldNode];
    const db = await b.addPod('db');
    // It has not heard of it: its own watch is silent.
    const [, ofB] = [...server.watches];
    server.watches.delete(ofB!);
    server.put('node-1', { podCidrs: ['10.42.5.0/24'] });
    const c = add('kubernetes', ['10.42.2.0/24']);
    await c.start();
    expect(await world.until(() => subnetsOf(c) === 'active 10.42.2.0/24', 20_000)).toBeDefined();
    expect(subnetsOf(b)).toBe('active 10.42.2.0/24');
    expect(a.routesTo(c)).toBe(true);
    expect(db.received).toEqual([]);
    await world.advance(4 * MINUTE_MS);
    expect(subnetsOf(b)).toBe('lost 10.42.2.0/24');
  });

  it('asks nothing more once it is stopped', async () => {
    const [a] = (await cluster(2)) as [WorldNode, WorldNode];
    await world.stop();
    expect(server.watches.size).toBe(0);
    Object.assign(server.counts, { watches: 0, pages: 0 });
    await world.advance(HOUR_MS);
    expect(server.counts).toMatchObject({ watches: 0, pages: 0 });
    expect(() => a.agent).toThrow();
  });
});
