import { beforeEach, describe, expect, it } from 'vitest';
import type { AttachmentRequest } from '../../../src/attachment/attachment.ts';
import type { AttachmentChange } from '../../../src/attachment/attachment-maker.ts';
import type { Attachments } from '../../../src/attachment/attachments.ts';
import { hostInterfaceName } from '../../../src/attachment/interface-name.ts';
import { foreignCode, WarrenError } from '../../../src/errors.ts';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { LIMITS, MemoryHost } from '../../helpers/attachments.ts';

const cni = (id: string, more: Partial<AttachmentRequest> = {}): AttachmentRequest => ({
  ...{ id, client: 'cni', name: id, netns: `/run/netns/${id.split('/')[0]}` },
  ...more,
});
const own = (id: string): AttachmentRequest => ({
  ...{ id, client: 'pod', name: id, netns: `/run/netns/own-${id}`, ownsNetns: true },
});
const code = (of: string) => expect.objectContaining({ code: of });
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function changesOf(attachments: Attachments): AttachmentChange[] {
  const changes: AttachmentChange[] = [];
  attachments.on('change', (change) => changes.push(change));
  return changes;
}

/** Fails or holds steps of host and disk: the step's name is matched. */
class Steps {
  /** Each fails the first step that it matches. */
  readonly failing: RegExp[] = [];
  held: RegExp | undefined;
  #waiting: (() => void)[] = [];

  readonly step = async (what: string): Promise<void> => {
    const index = this.failing.findIndex((pattern) => pattern.test(what));
    if (index >= 0) {
      this.failing.splice(index, 1);
      throw new WarrenError(foreignCode('TEST_FAILURE'), `${what} fails`);
    }
    if (this.held?.test(what)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  };

  release(): void {
    this.held = undefined;
    for (const go of this.#waiting.splice(0)) go();
  }
}

describe('attachments', () => {
  let steps: Steps;
  let host: MemoryHost;
  let attachments: Attachments;
  beforeEach(() => {
    steps = new Steps();
    host = new MemoryHost(steps.step);
    for (const name of ['c1', 'c2', 'c3']) host.network.makeNamespace(`/run/netns/${name}`);
    attachments = host.start();
  });

  it('are made as asked for, and the same again when they are asked for again', async () => {
    const changes = changesOf(attachments);
    const request = cni('c1/net0', {
      ...{
        network: 'blue',
        labels: { app: 'web' },
        interfaceName: 'net0',
        hostInterface: 'vethc1',
        mtu: 1280,
      },
      addresses: [parseAddress('10.42.3.99')],
    });
    const added = await attachments.add(request);
    expect(added).toMatchObject({
      ...{ id: 'c1/net0', client: 'cni', name: 'c1/net0', network: 'blue', labels: { app: 'web' } },
      ...{
        netns: '/run/netns/c1',
        interfaceName: 'net0',
        hostInterface: 'vethc1',
        mtu: 1280,
        status: 'ready',
      },
    });
    expect(added.addresses.map(formatAddress)).toEqual(['10.42.3.99', 'fd42:0:0:3::2']);
    const { link, serial } = host.network.pairOf('c1/net0')!;
    expect(link).toMatchObject({
      interfaceName: 'net0',
      netns: '/run/netns/c1',
      mtu: 1280,
      gsoMaxSegments: 44,
    });
    expect(link.gateways.map(formatAddress)).toEqual(['10.42.3.1', 'fd42:0:0:3::1']);
    expect(await attachments.add(request)).toEqual(added);
    expect(await attachments.add({ ...request, labels: { app: 'web' } })).toEqual(added);
    expect(host.network.pairOf('c1/net0')!.serial).toBe(serial);
    expect(changes).toEqual([{ id: 'c1/net0', kind: 'added' }]);
  });

  it('have defaults for what the caller does not choose', async () => {
    const added = await attachments.add({ id: 'endpoint', client: 'docker', name: 'web' });
    expect(added).toMatchObject({
      ...{ network: '', labels: {}, netns: undefined, interfaceName: 'eth0', mtu: 1400, static: false },
      hostInterface: hostInterfaceName('node-a', 'endpoint'),
    });
    expect(added.hostInterface).toMatch(/^wp[0-9a-f]{12}$/);
    expect(host.network.pairOf('endpoint')!.link.netns).toBeUndefined();
  });

  it('cannot be asked for in another way under the same id', async () => {
    await attachments.add(cni('c1'));
    const others: Partial<AttachmentRequest>[] = [
      ...[{ client: 'docker' }, { name: 'x' }, { network: 'x' }, { labels: { a: '1' } }, { mtu: 1300 }],
      ...[
        { netns: '/run/netns/c2' },
        { netns: undefined },
        { interfaceName: 'net1' },
        { hostInterface: 'v' },
      ],
      { addresses: [parseAddress('10.42.3.9')] },
    ];
    for (const other of others) {
      await expect(attachments.add(cni('c1', other))).rejects.toEqual(code('ATTACHMENT_EXISTS'));
    }
    expect(attachments.list()).toHaveLength(1);
  });

  it.each<[string, Partial<AttachmentRequest>]>([
    ['an empty id', { id: '' }],
    ['a long id', { id: 'x'.repeat(257) }],
    ['an id with a space', { id: 'a b' }],
    ['a client that is no word', { client: 'C N I' }],
    ['no name', { name: '' }],
    ['a long network', { network: 'x'.repeat(254) }],
    ['a control character in a label', { labels: { a: '\n' } }],
    ['too many labels', { labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, ''])) }],
    ['too long labels', { labels: { a: 'x'.repeat(2048) } }],
    ['a long interface name', { interfaceName: 'x'.repeat(16) }],
    ['an interface name with a slash', { hostInterface: '../x' }],
    ['an MTU that is none', { mtu: 1.5 }],
    ['two IPv4 addresses', { addresses: [parseAddress('10.42.3.8'), parseAddress('10.42.3.9')] }],
    ['a namespace of its own without a path', { ownsNetns: true, netns: undefined }],
    ['a long path', { netns: `/${'x'.repeat(512)}` }],
  ])('are refused for %s', async (_, more) => {
    await expect(attachments.add(cni('c1', more))).rejects.toEqual(code('ATTACHMENT_INVALID'));
    expect(attachments.list()).toEqual([]);
    expect(host.store.writes).toBe(0);
  });

  it('take ids of 256 printable characters', async () => {
    const id = `${'!~"'.repeat(85)}x`;
    expect((await attachments.add({ ...own('x'), id })).id).toBe(id);
  });

  it('are refused where namespace or interface are not theirs to use', async () => {
    await attachments.add(cni('c1'));
    host.network.aliasNamespace('/run/netns/c1', '/proc/9/ns/net');
    host.network.makeNamespace('/run/netns/own-y');
    const refused: [AttachmentRequest, string][] = [
      [cni('none'), 'POD_NETNS_MISSING'],
      [cni('x', { netns: 'c2' }), 'POD_NETNS_MISSING'],
      [cni('x', { netns: '/proc/self/ns/net' }), 'POD_NETNS_IS_NODE'],
      [cni('x', { netns: '/proc/9/ns/net' }), 'ATTACHMENT_INTERFACE_TAKEN'],
      [cni('c2', { hostInterface: hostInterfaceName('node-a', 'c1') }), 'ATTACHMENT_INTERFACE_TAKEN'],
      [own('y'), 'POD_NETNS_EXISTS'],
      [cni('c2', { addresses: [parseAddress('10.42.3.2')] }), 'ADDRESS_TAKEN'],
      [cni('c2', { addresses: [parseAddress('10.42.3.1')] }), 'ADDRESS_OUTSIDE'],
    ];
    const before = host.network.snapshot();
    for (const [request, of] of refused) await expect(attachments.add(request)).rejects.toEqual(code(of));
    expect(host.network.snapshot()).toEqual(before);
    expect(host.store.state.attachments.map(({ id }) => id)).toEqual(['c1']);
    // Another interface of the same namespace is another attachment.
    await attachments.add(cni('c1/net1', { interfaceName: 'net1' }));
    expect(attachments.inNamespace('/proc/9/ns/net').map(({ id }) => id)).toEqual(['c1', 'c1/net1']);
  });

  it('leave nothing where a step fails, whichever it is', async () => {
    for (const failing of [/^write$/, /^write \(done\)/, /^addNamespace/, /^ensure/, /^ensure.*done/]) {
      steps.failing.push(failing);
      const changes = changesOf(attachments);
      await expect(attachments.add(own('a')), String(failing)).rejects.toEqual(
        code(foreignCode('TEST_FAILURE')),
      );
      expect(attachments.list()).toEqual([]);
      expect(host.store.state.attachments).toEqual([]);
      expect(host.network.pairs.size).toBe(0);
      expect(host.network.namespaces).not.toContain('/run/netns/own-a');
      expect(changes).toEqual([]);
    }
    expect((await attachments.add(own('a'))).status).toBe('ready');
  });

  it('that could not be rolled back are missing, and are made whole by asking again', async () => {
    steps.failing.push(/^ensure/, /^remove/);
    await expect(attachments.add(own('a'))).rejects.toEqual(code(foreignCode('TEST_FAILURE')));
    expect(attachments.get('a')?.status).toBe('missing');
    expect((await attachments.check('a')).map((problem) => problem.code)).toEqual(['failed']);
    expect((await attachments.add(own('a'))).status).toBe('ready');
    expect(await attachments.check('a')).toEqual([]);
  });

  it('are remembered before anything of them is made', async () => {
    steps.held = /^addNamespace/;
    const adding = attachments.add(own('a'));
    await turn();
    expect(host.store.state.attachments.map(({ id }) => id)).toEqual(['a']);
    expect(host.network.namespaces).not.toContain('/run/netns/own-a');
    expect(attachments.get('a')?.status).toBe('pending');
    steps.release();
    await adding;
  });

  it('free their addresses only when their removal is on the disk', async () => {
    attachments = host.start({ subnets: ['10.42.3.0/30'] });
    await attachments.add(cni('c1'));
    steps.held = /^write/;
    const deleting = attachments.delete('c1');
    await turn();
    expect(host.network.pairs.size).toBe(0);
    await expect(attachments.add(cni('c2'))).rejects.toEqual(code('POD_SUBNET_EXHAUSTED'));
    steps.release();
    expect(await deleting).toMatchObject({ id: 'c1', status: 'ready' });
    await attachments.add(cni('c2'));
  });

  it('are called something else from when that is known, also after a restart, and are else what they were', async () => {
    const before = await attachments.add(cni('c1'));
    const changes = changesOf(attachments);
    const said = { name: 'web', network: 'app', labels: { tier: 'front' } };
    await attachments.describe('c1', said);
    await attachments.describe('c1', said);
    await attachments.describe('never', said);
    expect(attachments.get('c1')).toEqual({ ...before, ...said });
    expect(changes).toEqual([{ id: 'c1', kind: 'changed' }]);
    await expect(attachments.describe('c1', { ...said, name: '' })).rejects.toEqual(
      code('ATTACHMENT_INVALID'),
    );
    expect(host.start().get('c1')).toMatchObject(said);
  });

  it('are deleted once, and what never was is no error', async () => {
    await attachments.add(cni('c1'));
    const changes = changesOf(attachments);
    expect(await attachments.delete('never')).toBeUndefined();
    expect((await attachments.delete('c1'))?.id).toBe('c1');
    expect(await attachments.delete('c1')).toBeUndefined();
    expect(changes).toEqual([{ id: 'c1', kind: 'removed' }]);
    expect(host.network.pairs.size).toBe(0);
    expect(host.network.namespaces).toContain('/run/netns/c1');
  });

  it('whose removal fails are missing, keep their addresses, and may be deleted again', async () => {
    for (const failing of [/^remove wp/, /^removeNamespace/, /^write$/, /^write \(done\)/]) {
      await attachments.add(own('a'));
      steps.failing.push(failing);
      await expect(attachments.delete('a'), String(failing)).rejects.toEqual(
        code(foreignCode('TEST_FAILURE')),
      );
      expect(attachments.get('a')?.status).toBe('missing');
      expect(host.store.state.attachments.map(({ id }) => id)).toEqual(['a']);
      await attachments.delete('a');
      expect(host.store.state.attachments).toEqual([]);
    }
  });

  it('of many ids are worked on at the same time, with few writes, and none gets the address of another', async () => {
    const ids = Array.from({ length: 100 }, (_, index) => `p${index}`);
    const added = await Promise.all(ids.map((id) => attachments.add(own(id))));
    const addresses = added.flatMap((one) => one.addresses.map(formatAddress));
    expect(new Set(addresses).size).toBe(200);
    expect(host.network.pairs.size).toBe(100);
    // The first one's, and one that all others share.
    expect(host.store.writes).toBeLessThanOrEqual(2);
    await Promise.all(
      ids.flatMap((id) => [attachments.delete(id), attachments.add(own(id)), attachments.check(id)]),
    );
    expect(attachments.list()).toHaveLength(100);
    await Promise.all(ids.map((id) => attachments.delete(id)));
    expect(host.network.pairs.size).toBe(0);
    expect(host.violations).toEqual([]);
  });

  it.each([
    ['both families', ['10.42.3.0/29', 'fd42::/125']],
    ['IPv4 alone', ['10.42.3.0/29', 'fd42::/64']],
    ['IPv6 alone', ['10.42.3.0/24', 'fd42::/125']],
  ])('are refused when %s have run out, and no address is lost by that', async (_, subnets) => {
    attachments = host.start({ subnets });
    const most = subnets[0] === '10.42.3.0/29' ? 5 : 6;
    for (const round of [1, 2]) {
      const ids = Array.from({ length: 20 }, (_one, index) => `p${round}-${index}`);
      const settled = await Promise.allSettled(ids.map((id) => attachments.add(own(id))));
      expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(most);
      for (const one of settled) {
        if (one.status === 'rejected') expect(one.reason).toEqual(code('POD_SUBNET_EXHAUSTED'));
      }
      await attachments.gc({ client: 'pod', network: '' }, []);
    }
    expect(host.violations).toEqual([]);
  });

  it('have a bound on what waits', async () => {
    steps.held = /^ensure/;
    const first = attachments.add(own('a'));
    await turn();
    const waiting = Array.from({ length: 1024 }, () => attachments.check('a'));
    await expect(attachments.check('a')).rejects.toEqual(code('ATTACHMENT_BUSY'));
    steps.release();
    await Promise.all([first, ...waiting]);
    expect(await attachments.check('a')).toEqual([]);
  });

  it('are no more than 4096', { timeout: 60_000 }, async () => {
    attachments = host.start({ subnets: ['fd42::/64'] });
    const ids = Array.from({ length: 4096 }, (_, index) => `p${index}`);
    host.network.ensure = async () => {};
    await Promise.all(ids.map((id) => attachments.add({ id, client: 'docker', name: id })));
    await expect(attachments.add(cni('c1'))).rejects.toEqual(code('ATTACHMENT_LIMIT'));
    await attachments.delete('p7');
    await attachments.add(cni('c1'));
  });

  it('are checked: what is wrong is said', async () => {
    const problems = async (id: string) => (await attachments.check(id)).map((problem) => problem.code);
    await attachments.add(cni('c1'));
    await attachments.add(own('a'));
    expect(await problems('never')).toEqual(['unknown']);
    expect(await problems('c1')).toEqual([]);
    host.network.damage('c1');
    expect(await problems('c1')).toEqual(['interface']);
    host.network.loseNamespace('/run/netns/own-a');
    expect(await problems('a')).toEqual(['namespace']);
    attachments.setSubnets([parsePrefix('10.42.9.0/24')]);
    expect(await problems('c1')).toEqual(['subnet']);
  });

  it("are collected within one client's network, and those that are being made are left alone", async () => {
    await attachments.add(cni('c1', { network: 'blue' }));
    await attachments.add(cni('c2', { network: 'blue' }));
    await attachments.add(cni('c3', { network: 'red' }));
    await attachments.add(own('a'));
    await attachments.add({ id: 'd', client: 'docker', name: 'd', network: 'blue' });
    host.network.makeNamespace('/run/netns/c4');
    steps.held = /^ensure c4/;
    const adding = attachments.add(cni('c4', { network: 'blue' }));
    await turn();
    const blue = { client: 'cni', network: 'blue' };
    expect(await attachments.gc(blue, ['c1', 'never'])).toEqual({ done: ['c2'], failed: [] });
    steps.release();
    await adding;
    expect(attachments.list().map(({ id }) => id)).toEqual(['c1', 'c3', 'a', 'd', 'c4']);
    steps.failing.push(/^remove/);
    const { done, failed } = await attachments.gc(blue, []);
    expect([...done, ...failed.map(({ id }) => id)].sort()).toEqual(['c1', 'c4']);
    expect(failed).toHaveLength(1);
    expect((await attachments.gc(blue, [])).failed).toEqual([]);
    expect(attachments.list().map(({ id }) => id)).toEqual(['c3', 'a', 'd']);
  });

  it('are restored past those that fail, which are missing and keep their addresses', async () => {
    for (const request of [own('a'), own('b'), cni('c1'), cni('c2')]) await attachments.add(request);
    const before = attachments.list();
    const kept = host.network.pairOf('b')!.serial;
    host.network.loseNamespace('/run/netns/own-a');
    host.network.loseNamespace('/run/netns/c1');
    host.network.losePair('c2');
    steps.failing.push(/^ensure c2/);
    attachments = host.start();
    const changes = changesOf(attachments);
    await attachments.restore();
    expect(attachments.list().map(({ id, status }) => `${id} ${status}`)).toEqual([
      ...['a ready', 'b ready', 'c1 missing', 'c2 missing'],
    ]);
    expect(attachments.list().map(({ addresses }) => addresses)).toEqual(
      before.map(({ addresses }) => addresses),
    );
    expect(host.network.pairOf('b')!.serial).toBe(kept);
    // Of the others nothing is other than it was.
    expect(changes.map(({ id, kind }) => `${id} ${kind}`).toSorted()).toEqual(['a changed', 'c2 changed']);
    // The failure is over, and the namespace is there again as another one.
    host.network.makeNamespace('/run/netns/c1');
    await attachments.restore();
    expect(attachments.list().map(({ status }) => status)).toEqual(Array(4).fill('ready'));
  });

  it('do not go into the namespace of another process that has the number by now', async () => {
    host.network.makeNamespace('/proc/77/ns/net');
    const request = cni('p', { netns: '/proc/77/ns/net' });
    await attachments.add(request);
    host.network.makeNamespace('/proc/77/ns/net');
    await attachments.restore();
    expect(attachments.get('p')?.status).toBe('missing');
    expect(host.network.pairOf('p')).toBeUndefined();
    // Who asks for it again says that it is the right one.
    expect((await attachments.add(request)).status).toBe('ready');
  });

  it('move where the node has other subnets, with the interface of before removed', async () => {
    await attachments.add(own('a'));
    const { serial } = host.network.pairOf('a')!;
    const changes = changesOf(attachments);
    attachments.setSubnets([parsePrefix('10.42.9.0/24')]);
    expect(attachments.get('a')!.addresses.map(formatAddress)).toEqual(['10.42.3.2', 'fd42:0:0:3::2']);
    await attachments.restore();
    expect(attachments.get('a')!.addresses.map(formatAddress)).toEqual(['10.42.9.2']);
    expect(host.network.pairOf('a')!.serial).not.toBe(serial);
    expect(host.store.state.attachments[0]!.addresses.map(formatAddress)).toEqual(['10.42.9.2']);
    expect(changes).toEqual([{ id: 'a', kind: 'changed' }]);
  });

  it('need no interface where others carry the packets, and follow the subnets all the same', async () => {
    const remote: AttachmentRequest = { id: 'peer/laptop', client: 'peer', name: 'laptop', remote: true };
    const added = await attachments.add(remote);
    expect(added).toMatchObject({ status: 'ready', remote: true });
    expect(await attachments.add(remote)).toEqual(added);
    await expect(attachments.add({ ...remote, remote: undefined })).rejects.toEqual(
      code('ATTACHMENT_EXISTS'),
    );
    await attachments.add(own('a'));
    await attachments.setLimits({ mtu: 1350, gsoMaxSegments: 40 });
    attachments = host.start();
    await attachments.restore();
    expect(attachments.list().map(({ id, status }) => `${id} ${status}`)).toEqual([
      'peer/laptop ready',
      'a ready',
    ]);
    expect([await attachments.check('peer/laptop'), await attachments.repair()]).toEqual([
      [],
      { done: [], failed: [] },
    ]);
    attachments.setSubnets([parsePrefix('10.42.9.0/24')]);
    expect(await attachments.check('peer/laptop')).toMatchObject([{ code: 'subnet' }]);
    await attachments.restore();
    expect(attachments.get('peer/laptop')!.addresses.map(formatAddress)).toEqual(['10.42.9.2']);
    expect([...host.network.pairs.values()].map(({ link }) => link.id)).toEqual(['a']);
    await attachments.delete('peer/laptop');
    expect(host.store.state.attachments.map(({ id }) => id)).toEqual(['a']);
  });

  it('are repaired past those that fail, and it is said which', async () => {
    for (const id of ['a', 'b', 'c', 'd']) await attachments.add(own(id));
    const kept = host.network.pairOf('d')!.serial;
    for (const id of ['a', 'b']) host.network.damage(id);
    host.network.losePair('c');
    steps.failing.push(/^ensure b/);
    const { done, failed } = await attachments.repair();
    expect(done.toSorted()).toEqual(['a', 'c']);
    expect(failed).toMatchObject([{ id: 'b', error: { code: foreignCode('TEST_FAILURE') } }]);
    expect(host.network.pairOf('d')!.serial).toBe(kept);
    expect(await attachments.repair()).toEqual({ done: ['b'], failed: [] });
    expect(await attachments.repair()).toEqual({ done: [], failed: [] });
  });

  it("follow the data plane's MTU, also those that are just being made; a smaller one of their own stays", async () => {
    await attachments.add(own('a'));
    await attachments.add(cni('c1', { mtu: 1300 }));
    await attachments.add(cni('c2', { mtu: 1600 }));
    steps.held = /^ensure late \(done\)/;
    const late = attachments.add(own('late'));
    await turn();
    const changes = changesOf(attachments);
    const following = attachments.setLimits({ mtu: 1350, gsoMaxSegments: 40 });
    steps.release();
    await late;
    expect((await following).done.toSorted()).toEqual(['a', 'c1', 'c2', 'late']);
    const mtus = () =>
      attachments.list().map(({ id, mtu }) => {
        expect(host.network.pairOf(id)!.link.mtu).toBe(mtu);
        return `${id} ${mtu}`;
      });
    expect(mtus()).toEqual(['a 1350', 'c1 1300', 'c2 1350', 'late 1350']);
    expect(host.network.pairOf('a')!.link.gsoMaxSegments).toBe(40);
    expect(changes.filter(({ kind }) => kind === 'changed').map(({ id }) => id)).toContain('a');
    expect(await attachments.setLimits({ mtu: 1350, gsoMaxSegments: 40 })).toEqual({ done: [], failed: [] });
    await attachments.setLimits(LIMITS);
    expect(mtus()).toEqual(['a 1400', 'c1 1300', 'c2 1400', 'late 1400']);
  });

  it('are all removed when the node is cleaned up, past one that fails, which is said', async () => {
    for (const request of [own('a'), own('b'), cni('c1')]) await attachments.add(request);
    steps.failing.push(/^remove/);
    await expect(attachments.deleteAll()).rejects.toEqual(code(foreignCode('TEST_FAILURE')));
    expect(attachments.list()).toHaveLength(1);
    await attachments.deleteAll();
    expect(attachments.list()).toEqual([]);
    expect(host.network.pairs.size).toBe(0);
  });

  it('that are remembered with one address twice do not keep the agent from starting', async () => {
    await attachments.add(own('a'));
    await attachments.add(own('b'));
    const [a, b] = host.store.state.attachments;
    await host.store.write({ ...host.store.state, attachments: [a!, { ...b!, addresses: a!.addresses }] });
    host.network.losePair('b');
    attachments = host.start();
    await attachments.restore();
    expect(attachments.list().map(({ addresses }) => formatAddress(addresses[0]!))).toEqual([
      ...['10.42.3.2', '10.42.3.4'],
    ]);
    expect(host.violations).toEqual([]);
  });

  it('end what was begun when they are closed, and begin nothing new', async () => {
    steps.held = /^ensure/;
    const adding = attachments.add(own('a'));
    await turn();
    let isClosed = false;
    const closing = attachments.close().then(() => {
      isClosed = true;
    });
    await expect(attachments.add(own('b'))).rejects.toEqual(code('ATTACHMENTS_CLOSED'));
    await turn();
    expect(isClosed).toBe(false);
    steps.release();
    await Promise.all([adding, closing]);
    expect(host.network.pairs.size).toBe(1);
  });
});
