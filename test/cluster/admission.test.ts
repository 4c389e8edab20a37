/** Who may take part in forwarding, as users and other nodes notice it: whole agents, packet by packet. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { captureRequest } from '../../src/capture/request.ts';
import { ipv4Packet, vxlanGpe } from '../helpers/packets.ts';
import { type NodeOptions, World, type WorldNode, type WorldPod } from './world.ts';

let world: World;

beforeEach(() => {
  world = new World(1);
});
afterEach(async () => {
  await world.stop();
});

const idOf = (node: WorldNode) => node.model.status().node.id;

async function reaches(from: WorldPod, to: WorldPod): Promise<boolean> {
  const before = to.received.length;
  from.send(to.addresses[0]!);
  await world.advance(5);
  return to.received.length === before + 1;
}

/** Three nodes that began as an open cluster, and have let in each other: the way of the documentation. */
async function allowlisted(more: NodeOptions = {}): Promise<[WorldNode, WorldNode, WorldNode]> {
  const nodes = (await world.cluster(3, more)) as [WorldNode, WorldNode, WorldNode];
  const [a] = nodes;
  await configure(nodes, `approvers: ["${idOf(a)}"]`);
  a.commands.changeNodes({ action: 'approve', all: true });
  await world.advance(3_000);
  await configure(nodes, `approvers: ["${idOf(a)}"], admission: allowlist`);
  return nodes;
}

async function configure(nodes: readonly WorldNode[], keys: string): Promise<void> {
  for (const node of nodes) {
    node.clusterKeys = keys;
    const { needsRestart } = await node.commands.reload();
    expect(needsRestart).toEqual([]);
  }
}

describe('a cluster that is open', () => {
  it('says so, and becomes one with an allowlist without a packet lost', async () => {
    const [a, b, c] = (await world.cluster(3)) as [WorldNode, WorldNode, WorldNode];
    expect(a.model.status().cluster.admission).toEqual({ mode: 'open', approved: 0, pending: 3, revoked: 0 });
    expect(() => a.commands.changeNodes({ action: 'approve', all: true })).toThrow(
      expect.objectContaining({ code: 'ADMISSION_NOT_APPROVER' }),
    );
    const [web, db] = [await a.addPod('web'), await b.addPod('db')];
    const nodes = [a, b, c];
    const keys = `approvers: ["${idOf(a)}"]`;
    await configure(nodes, keys);
    expect(await reaches(web, db)).toBe(true);
    const approved = a.commands.changeNodes({ action: 'approve', all: true });
    expect(approved.map(({ name }) => name).sort()).toEqual([b.name, c.name]);
    await world.advance(3_000);
    for (const node of nodes) {
      await configure([node], `${keys}, admission: allowlist`);
      for (let i = 0; i < 20; i++) {
        expect([await reaches(web, db), await reaches(db, web)]).toEqual([true, true]);
      }
    }
    expect(c.model.status().cluster.admission).toEqual({
      ...{ mode: 'allowlist', approved: 3, pending: 0, revoked: 0 },
    });
    expect(c.model.status().cluster.problems).toEqual([]);
  });
});

describe('a node that is not approved', () => {
  it('gets no packets of others, and nothing answers its checks', async () => {
    const [a] = await allowlisted({ yaml: 'api: {remoteCapture: true}' });
    const late = world.add({ cluster: a.clusterKeys });
    await late.start();
    await world.advance(10_000);
    let missing: readonly { node: string; reason: string }[] | undefined;
    const capturing = (async () => {
      const request = captureRequest.parse({ all: true, seconds: 1 });
      const running = await late.commands.capture(request, new AbortController().signal);
      for await (const _ of running.chunks);
      missing = running.missing;
    })();
    await world.until(() => missing !== undefined, 30_000);
    await capturing;
    expect(missing!.map(({ reason }) => reason)).toEqual(
      Array(3).fill(expect.stringContaining('does not let')),
    );
    let unreachable: readonly { node: string; reason: string }[] | undefined;
    void late.commands.respond(60).then((report) => {
      unreachable = report.unreachable;
    });
    await world.until(() => unreachable !== undefined, 30_000);
    expect(unreachable!.map(({ reason }) => reason)).toEqual(
      Array(3).fill(expect.stringContaining('take part')),
    );
  });

  it('has no subnet and no path, is listed as pending, and has both once it is approved', async () => {
    const [a, b] = await allowlisted();
    const web = await a.addPod('web');
    const late = world.add({ cluster: a.clusterKeys });
    await late.start();
    await world.advance(10_000);
    expect(late.model.status().lease).toEqual({ status: 'pending', subnets: [] });
    expect(late.model.status().cluster.problems.join()).toContain(`warren node approve ${idOf(late)}`);
    await expect(late.commands.addPod('db', {})).rejects.toMatchObject({ code: 'NO_SUBNET' });
    for (const node of [a, b]) {
      const listed = node.commands.listNodes().nodes.find(({ name }) => name === late.name);
      expect(listed).toMatchObject({ admission: 'pending', admitted: false, status: 'alive' });
      expect(node.model.peers().find(({ name }) => name === late.name)?.subnets).toEqual([]);
    }
    a.commands.changeNodes({ action: 'approve', nodes: [idOf(late)] });
    await world.until(() => a.routesTo(late) && late.routesTo(a), 10_000);
    expect(await reaches(web, await late.addPod('db'))).toBe(true);
  });

  it('is not believed either where its own configuration lets everyone in', async () => {
    const [a, b] = await allowlisted();
    const web = await a.addPod('web');
    const rogue = world.add();
    await rogue.start();
    await world.until(() => rogue.model.status().lease.status === 'active', 20_000);
    const pod = await rogue.addPod('pod');
    await world.advance(5_000);
    for (const node of [a, b]) expect(node.routesTo(rogue)).toBe(false);
    expect([await reaches(web, pod), await reaches(pod, web)]).toEqual([false, false]);
    const from = { address: { family: 4, value: 0xc000_0204n }, port: 4790 } as const;
    const to = { address: { family: 4, value: 0xc000_0201n }, port: 4790 } as const;
    world.inject(from, to, vxlanGpe(ipv4Packet(pod.addresses[0]!, web.addresses[0]!)));
    await world.advance(100);
    // What it has is the answer that no route leads there.
    expect(web.received).toHaveLength(1);
    expect(a.model.status().datapath.drops['inbound-unknown-source']).toBe(2);
  });
});

describe('a node that is revoked', () => {
  it('is out of the forwarding of every node within 5 s, and its subnet is free', async () => {
    const [a, b, c] = await allowlisted();
    const [web, db] = [await b.addPod('web'), await c.addPod('db')];
    expect(await reaches(web, db)).toBe(true);
    const { subnets } = c.model.status().lease;
    const changed: string[] = [];
    a.agent.admission.on('change', (nodes) => changed.push(nodes === 'all' ? nodes : [...nodes].join()));
    a.commands.changeNodes({ action: 'revoke', nodes: [c.name] });
    expect(changed).toEqual([idOf(c)]);
    const isOut = () =>
      [a, b].every((node) => !node.model.routes().some(({ prefix }) => subnets.includes(prefix))) &&
      c.model.routes().every(({ via }) => via === 'local');
    expect(await world.until(isOut, 20_000)).toBeLessThan(5_000);
    const carried = world.carried.length;
    expect([await reaches(web, db), await reaches(db, web)]).toEqual([false, false]);
    expect(world.carried.length).toBe(carried);
    expect([a, b].map((node) => node.agent.admission.admits(idOf(c)))).toEqual([false, false]);
    // Its subnet can be another's: the one that a node prefers that has the same id would be the same.
    expect(a.model.status().cluster.admission).toMatchObject({ approved: 2, revoked: 1 });
    expect(c.model.status().lease.status).toBe('pending');
  });

  it('has no session any more within 5 s, and what it seals is not opened', async () => {
    const [a, b, c] = await allowlisted({ encapsulation: 'wireguard' });
    const [web, db] = [await b.addPod('web'), await c.addPod('db')];
    // The first packet waits for the keys of the two.
    web.send(db.addresses[0]!);
    await world.advance(5_000);
    expect([await reaches(web, db), await reaches(db, web)]).toEqual([true, true]);
    const sessionOf = (on: WorldNode) =>
      on.model.peers().find(({ name }) => name === c.name)?.sessionAgeSeconds;
    expect(sessionOf(b)).toBeDefined();
    const last = world.carried.findLast(
      ({ from, to }) => c.hasAddress(from.address) && b.hasAddress(to.address),
    )!;
    a.commands.changeNodes({ action: 'revoke', nodes: [idOf(c)] });
    const isOut = () =>
      [a, b].every((node) => sessionOf(node) === undefined && !node.agent.admission.admits(idOf(c)));
    expect(await world.until(isOut, 20_000)).toBeLessThan(5_000);
    await world.advance(1_000);
    const before = [world.carried.length, web.received.length];
    expect([await reaches(web, db), await reaches(db, web)]).toEqual([false, false]);
    // Neither a session nor a handshake.
    await world.advance(10_000);
    const between = world.carried
      .slice(before[0])
      .filter(({ from, to }) => [from, to].some((end) => c.hasAddress(end.address)));
    expect(between).toEqual([]);
    const [counted, heard] = [b.model.status().datapath.drops['inbound-no-session']!, web.received.length];
    world.inject(last.from, last.to, last.bytes);
    await world.advance(100);
    expect(web.received.length).toBe(heard);
    expect(b.model.status().datapath.drops['inbound-no-session']).toBe(counted + 1);
  });

  it('stays so over restarts of all, and comes back with its pods when it is approved again', async () => {
    const [a, b, c] = await allowlisted();
    const [web, db] = [await b.addPod('web'), await c.addPod('db')];
    a.commands.changeNodes({ action: 'revoke', nodes: [idOf(c)] });
    await world.advance(5_000);
    for (const node of [a, b, c]) {
      await node.stop();
      await node.start();
    }
    await world.until(() => a.routesTo(b) && b.routesTo(a), 20_000);
    await world.advance(20_000);
    expect([await reaches(web, db), await reaches(db, web)]).toEqual([false, false]);
    expect(b.commands.listNodes().nodes.find(({ name }) => name === c.name)).toMatchObject({
      ...{ admission: 'revoked', by: a.name, admitted: false },
    });
    a.commands.changeNodes({ action: 'approve', nodes: [idOf(c)] });
    await world.until(() => b.routesTo(c) && c.routesTo(b), 20_000);
    await world.advance(500);
    // What db sent meanwhile is still in the TUN of its node, and goes with the first packet.
    await reaches(db, web);
    expect([await reaches(web, db), await reaches(db, web)]).toEqual([true, true]);
  });
});

it('refuses commands on a node that is no approver, and names that are not clear', async () => {
  const [a, b] = await allowlisted();
  const code = (run: () => unknown) => {
    try {
      run();
      return undefined;
    } catch (error) {
      return (error as { code?: string }).code;
    }
  };
  expect(code(() => b.commands.changeNodes({ action: 'revoke', nodes: [a.name] }))).toBe(
    'ADMISSION_NOT_APPROVER',
  );
  expect(code(() => a.commands.changeNodes({ action: 'revoke', nodes: ['nobody'] }))).toBe('MEMBER_UNKNOWN');
  expect(code(() => a.commands.changeNodes({ action: 'revoke', nodes: [a.name] }))).toBe('ADMISSION_SELF');
  // One that is yet to join, by its id.
  const id = 'ab'.repeat(16);
  expect(a.commands.changeNodes({ action: 'approve', nodes: [id] })).toEqual([{ id, name: '' }]);
  await world.advance(3_000);
  expect(b.commands.listNodes().nodes.find((node) => node.id === id)).toMatchObject({
    ...{ status: 'absent', admission: 'approved', admitted: true, name: id },
  });
});
