/** What a Docker engine asks, in its order, over attachments on a host and a disk in memory. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Attachments } from '../../../src/attachment/attachments.ts';
import { DockerDriver } from '../../../src/docker/driver.ts';
import { WarrenError } from '../../../src/errors.ts';
import { formatAddress } from '../../../src/ip/address.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { MemoryHost, SUBNETS } from '../../helpers/attachments.ts';

const NETWORK = 'a'.repeat(64);
const ENDPOINT = 'e'.repeat(64);
const OTHER = 'f'.repeat(64);
const POOL = '10.42.0.0/16';
const GATEWAY = { RequestAddressType: 'com.docker.network.gateway' };

let memory: MemoryHost;
let attachments: Attachments;
let driver: DockerDriver;
let hasSubnet: boolean;
let isolationFails: boolean;

beforeEach(() => {
  memory = new MemoryHost();
  attachments = memory.start();
  hasSubnet = true;
  isolationFails = false;
  driver = new DockerDriver({
    attachments,
    names: { factsOf: async () => ({ name: 'app', reach: '' }), forget: () => {} },
    podRanges: [POOL, 'fd42::/48'].map(parsePrefix),
    subnets: () => (hasSubnet ? SUBNETS.map(parsePrefix) : []),
    isolated: async () => {
      if (isolationFails) throw new WarrenError('TOOL_MISSING', 'the program nft is not installed');
    },
    refuseWithoutSubnet: () => {
      if (!hasSubnet) throw new WarrenError('NO_SUBNET', 'this node has no subnet yet');
    },
  });
});

const ipam = (method: string, body: object) => driver.handle(`IpamDriver.${method}`, body);
const network = (method: string, body: object) =>
  driver.handle(`NetworkDriver.${method}`, { NetworkID: NETWORK, ...body });

async function address(body: object = {}): Promise<string> {
  const { Address } = await ipam('RequestAddress', { PoolID: POOL, Address: '', Options: null, ...body });
  return Address as string;
}

async function endpoint(EndpointID = ENDPOINT): Promise<object> {
  return network('CreateEndpoint', { EndpointID, Options: null, Interface: { Address: await address() } });
}

describe('pools and addresses', () => {
  it('says nothing of IPv4 where no subnet is asked for: an engine would look for one that is not routed', async () => {
    expect(await ipam('RequestPool', { Pool: '', SubPool: '', V6: false })).toEqual({
      PoolID: POOL,
      Pool: '0.0.0.0/0',
      Data: { 'com.docker.network.gateway': '10.42.3.1/16' },
    });
    expect(await ipam('RequestPool', { Pool: '', SubPool: '', V6: true })).toMatchObject({
      Pool: 'fd42::/48',
    });
    expect(await ipam('RequestPool', { Pool: POOL, V6: false })).toMatchObject({ Pool: POOL });
    expect(await network('CreateNetwork', { IPv4Data: [{ Pool: '0.0.0.0/0' }], IPv6Data: null })).toEqual({});
  });

  it('refuses other subnets and ranges', async () => {
    for (const body of [{ Pool: '10.9.0.0/16' }, { Pool: 'x' }, { Pool: POOL, SubPool: '10.42.3.0/26' }])
      await expect(ipam('RequestPool', body)).rejects.toMatchObject({ code: 'DOCKER_REQUEST' });
    const foreign = { IPv4Data: [{ Pool: '172.20.0.0/16' }] };
    await expect(network('CreateNetwork', foreign)).rejects.toMatchObject({ code: 'DOCKER_REQUEST' });
  });

  it('refuses options of a network that it could not take over as they are', async () => {
    const create = (options: object) =>
      network('CreateNetwork', { Options: { 'com.docker.network.generic': options } });
    for (const reach of ['*', 'db', 'db,cache_2'])
      expect(await create({ 'warren.reach': reach, 'warren.network': 'app', other: 'x' })).toEqual({});
    for (const reach of ['', 'db, cache', '*,db', 'x'.repeat(201)])
      await expect(create({ 'warren.reach': reach })).rejects.toMatchObject({ code: 'DOCKER_REQUEST' });
    await expect(create({ 'warren.network': 'a b' })).rejects.toMatchObject({ code: 'DOCKER_REQUEST' });
  });

  it("gives addresses of the node's subnet, each once, and takes them back", async () => {
    expect(await address({ Options: GATEWAY })).toBe('10.42.3.1/16');
    expect([await address(), await address()]).toEqual(['10.42.3.2/32', '10.42.3.3/32']);
    await expect(address({ Address: '10.42.3.3' })).rejects.toMatchObject({ code: 'ADDRESS_TAKEN' });
    await ipam('ReleaseAddress', { PoolID: POOL, Address: '10.42.3.3' });
    expect(await address({ Address: '10.42.3.3' })).toBe('10.42.3.3/32');
    await expect(address({ Address: '10.42.9.9' })).rejects.toMatchObject({ code: 'ADDRESS_OUTSIDE' });
  });

  it('is given to nobody else before its endpoint is made', async () => {
    const held = await address({ Address: '10.42.3.2' });
    const pod = await attachments.add({ id: 'web', client: 'pod', name: 'web' });
    expect(pod.addresses.map(({ value }) => value)).not.toContain(parsePrefix(held).value);
  });

  it('says at once that there is no subnet yet', async () => {
    hasSubnet = false;
    await expect(address()).rejects.toMatchObject({ code: 'NO_SUBNET' });
  });
});

describe('endpoints', () => {
  it('are attachments with both families, and go without a trace', async () => {
    expect(await endpoint()).toMatchObject({ Interface: { AddressIPv6: 'fd42:0:0:3::2/128' } });
    expect(attachments.get(ENDPOINT)).toMatchObject({ client: 'docker', network: 'app', status: 'ready' });
    const joined = await network('Join', { EndpointID: ENDPOINT, SandboxKey: '/var/run/docker/netns/1' });
    expect(joined).toMatchObject({
      InterfaceName: { SrcName: attachments.get(ENDPOINT)!.interfaceName, DstPrefix: 'eth' },
      StaticRoutes: [
        { Destination: '10.42.3.1/32', RouteType: 1 },
        { Destination: POOL, RouteType: 0, NextHop: '10.42.3.1' },
        { Destination: 'fe80::1/128', RouteType: 1 },
        { Destination: 'fd42::/48', RouteType: 0, NextHop: 'fe80::1' },
      ],
    });
    // The way out is the engine's docker_gwbridge.
    expect(joined).not.toHaveProperty('Gateway');
    await network('Leave', { EndpointID: ENDPOINT });
    await network('DeleteEndpoint', { EndpointID: ENDPOINT });
    await network('DeleteEndpoint', { EndpointID: ENDPOINT });
    expect([attachments.size, memory.network.pairs.size]).toEqual([0, 0]);
  });

  it('are not made where their network cannot be kept apart from others', async () => {
    isolationFails = true;
    await expect(endpoint()).rejects.toMatchObject({ code: 'TOOL_MISSING' });
    expect([attachments.size, memory.network.pairs.size]).toEqual([0, 0]);
  });

  it('are the same when the engine asks once more, whatever they are called by then', async () => {
    await endpoint();
    const { addresses, labels, network } = attachments.get(ENDPOINT)!;
    await attachments.describe(ENDPOINT, { name: 'web', network, labels });
    const Interface = { Address: formatAddress(addresses[0]!) };
    await driver.handle('NetworkDriver.CreateEndpoint', {
      NetworkID: NETWORK,
      EndpointID: ENDPOINT,
      Interface,
    });
    expect(attachments.get(ENDPOINT)).toMatchObject({ name: 'web', addresses });
  });

  it('lets a container be on one network', async () => {
    await endpoint();
    await endpoint(OTHER);
    await network('Join', { EndpointID: ENDPOINT, SandboxKey: '/netns/1' });
    const second = { EndpointID: OTHER, SandboxKey: '/netns/1' };
    await expect(network('Join', second)).rejects.toMatchObject({ code: 'DOCKER_REQUEST' });
    await network('Leave', { EndpointID: ENDPOINT });
    await expect(network('Join', second)).resolves.toBeDefined();
  });

  it('refuses what is not a request', async () => {
    await expect(network('CreateEndpoint', { EndpointID: '../x' })).rejects.toMatchObject({
      code: 'DOCKER_REQUEST',
    });
    await expect(network('Join', { EndpointID: OTHER })).rejects.toMatchObject({ code: 'DOCKER_REQUEST' });
    await expect(driver.handle('constructor', {})).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
