/** Named pods on a host in memory; test/e2e/pods.test.ts has them on real namespaces. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Attachments } from '../../../src/attachment/attachments.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { PodManager } from '../../../src/pod/pod-manager.ts';
import { MemoryHost } from '../../helpers/attachments.ts';

describe('named pods', () => {
  let host: MemoryHost;
  let attachments: Attachments;
  beforeEach(() => {
    host = new MemoryHost();
  });

  /** A new run of the agent. */
  function start(staticPods: readonly string[] = []): PodManager {
    attachments = host.start();
    return new PodManager({ nodeName: 'node-a', attachments, staticPods, log: silentLogger });
  }
  const codes = async (all: Promise<unknown>[]) =>
    (await Promise.allSettled(all)).map((one) => (one.status === 'rejected' ? one.reason.code : 'ok'));

  it('are attachments of the client pod, in namespaces of their own', async () => {
    const pods = start();
    const web = await pods.add('web', { labels: { app: 'web' } });
    expect(web).toEqual({
      name: 'web',
      addresses: ['10.42.3.2', 'fd42:0:0:3::2'],
      netns: '/run/netns/warren-node-a-web',
      hostInterface: expect.stringMatching(/^wp[0-9a-f]{12}$/),
      status: 'ready',
      static: false,
      labels: { app: 'web' },
    });
    expect(attachments.get('web')).toMatchObject({ client: 'pod', ownsNetns: true, interfaceName: 'eth0' });
    expect(await pods.remove('web')).toEqual(web);
    expect(host.network.snapshot()).toEqual([]);
    expect(await pods.add('db')).not.toHaveProperty('labels');
  });

  it('exist once: of two at the same time one is refused, and after a removal the name is free', async () => {
    const pods = start();
    expect(await codes([pods.add('web'), pods.add('web')])).toEqual(['ok', 'POD_EXISTS']);
    expect(
      await codes([pods.remove('web'), pods.add('web'), pods.remove('web'), pods.remove('web')]),
    ).toEqual([...['ok', 'ok', 'ok', 'POD_UNKNOWN']]);
  });

  it('have a namespace each, also where two ask for one at the same time', async () => {
    const pods = start();
    host.network.makeNamespace('/run/netns/blue');
    host.network.aliasNamespace('/run/netns/blue', '/proc/9/ns/net');
    const asked = [pods.add('a', { netns: '/run/netns/blue' }), pods.add('b', { netns: '/proc/9/ns/net' })];
    expect(await codes(asked)).toEqual(['ok', 'POD_NETNS_TAKEN']);
    // Nor in one that has an attachment under another interface's name.
    host.network.makeNamespace('/run/netns/red');
    await attachments.add({
      ...{ id: 'c/net1', client: 'cni', name: 'c', netns: '/run/netns/red', interfaceName: 'net1' },
    });
    expect(await codes([pods.add('b', { netns: '/run/netns/red' })])).toEqual(['POD_NETNS_TAKEN']);
  });

  it('are a list without what others have attached, which their removal does not touch', async () => {
    const pods = start();
    await attachments.add({ id: 'endpoint', client: 'docker', name: 'x' });
    await pods.add('web');
    expect(pods.list().map(({ name }) => name)).toEqual(['web']);
    await expect(pods.remove('endpoint')).rejects.toMatchObject({ code: 'POD_UNKNOWN' });
  });

  it('that the configuration lists are made in its order, become static, and go when listed no more', async () => {
    const before = start();
    await before.add('web');
    const pods = start(['db', 'web', 'cache']);
    await pods.restore();
    expect(pods.list().map((pod) => [pod.name, pod.static, pod.addresses[0]])).toEqual([
      ['web', true, '10.42.3.2'],
      ['db', true, '10.42.3.3'],
      ['cache', true, '10.42.3.4'],
    ]);
    await expect(pods.remove('web')).rejects.toMatchObject({ code: 'POD_STATIC' });
    // One that somebody made before it was listed goes like any other.
    const later = start(['cache']);
    await later.restore();
    expect(later.list().map(({ name }) => name)).toEqual(['cache']);
    expect(host.network.namespaces).toEqual(['/run/netns/warren-node-a-cache']);
  });

  it('that cannot be made do not keep the others from it', async () => {
    const pods = start(['db', 'web']);
    host.network.makeNamespace('/run/netns/warren-node-a-db');
    attachments.setSubnets([parsePrefix('10.42.3.0/24')]);
    await pods.restore();
    expect(pods.list().map(({ name, status }) => `${name} ${status}`)).toEqual(['web ready']);
  });
});
