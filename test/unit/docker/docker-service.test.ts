/** The driver as a part of the agent: over its real socket, beside an engine that only answers what it is asked. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Attachments } from '../../../src/attachment/attachments.ts';
import { DockerService, withdrawEngineConfig } from '../../../src/docker/docker-service.ts';
import { WarrenError } from '../../../src/errors.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { MemoryHost, SUBNETS } from '../../helpers/attachments.ts';

const NETWORK = 'a'.repeat(64);
const ENDPOINT = 'e'.repeat(64);

let folder: string;
let clock: VirtualClock;
let attachments: Attachments;
let service: DockerService;
let engine: Server;
let hasSubnet: boolean;
/** Where this node answers names. */
let address: string | undefined;
let known: string[];
/** What the engine says of its running containers. */
let containers: object[];
/** Who listens to its events. */
let listeners: ServerResponse[];

const plugin = () => join(folder, 'plugins', 'warren.sock');
const settings = () => ({ plugin: plugin(), engine: join(folder, 'docker.sock') });

function newService(): DockerService {
  return new DockerService({
    ...{ attachments, clock, log: silentLogger, nodeId: 'node-a', stateDir: folder },
    podRanges: ['10.42.0.0/16', 'fd42::/48'].map(parsePrefix),
    subnets: () => (hasSubnet ? SUBNETS.map(parsePrefix) : []),
    refuseWithoutSubnet: () => {
      if (!hasSubnet) throw new WarrenError('NO_SUBNET', 'this node has no subnet yet');
    },
    inventory: { listed: () => [], onChange: () => () => {} },
    rules: undefined,
    names: { address: () => address, resolvers: async () => ['127.0.0.53', '192.0.2.53'] },
  });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warren-docker-test-'));
  clock = new VirtualClock();
  attachments = new MemoryHost().start();
  [known, containers, listeners] = [[], [], []];
  hasSubnet = true;
  address = '10.42.3.1';
  engine = createServer((asked, response) => {
    if (asked.url === '/containers/json') return response.end(JSON.stringify(containers));
    if (asked.url?.startsWith('/containers/')) {
      const Networks = { app: { EndpointID: ENDPOINT, Aliases: ['front'] }, none: null };
      return response.end(JSON.stringify({ NetworkSettings: { Networks } }));
    }
    if (asked.url?.startsWith('/events?')) {
      listeners.push(response);
      return response.flushHeaders();
    }
    const network = { Id: NETWORK, Name: 'app', Driver: 'warren', Labels: {}, Options: {} };
    const Containers = Object.fromEntries(known.map((EndpointID) => [EndpointID, { EndpointID }]));
    response.end(JSON.stringify(asked.url === '/networks' ? [network] : { ...network, Containers }));
  });
  await new Promise<void>((resolve) => engine.listen(settings().engine, resolve));
  service = newService();
});
afterEach(async () => {
  await service.stop();
  engine.closeAllConnections();
  engine.close();
  rmSync(folder, { recursive: true });
});

function ask(method: string, body: object = {}): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath: plugin(), path: `/${method}`, method: 'POST' }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode, ...JSON.parse(text) }));
    });
    asked.on('error', reject);
    asked.end(JSON.stringify(body));
  });
}

const createEndpoint = () =>
  ask('NetworkDriver.CreateEndpoint', { NetworkID: NETWORK, EndpointID: ENDPOINT, Interface: null });

it('answers from when it is enabled, over restarts, until it is disabled', async () => {
  await service.start();
  expect(existsSync(plugin())).toBe(false);
  await service.enable(settings());
  expect(await ask('Plugin.Activate')).toEqual({ status: 200, Implements: ['NetworkDriver', 'IpamDriver'] });
  await service.stop();
  expect(existsSync(plugin())).toBe(false);
  service = newService();
  await service.start();
  expect(await ask('IpamDriver.Nothing')).toMatchObject({ status: 404 });
  expect(await ask('NetworkDriver.Join', [])).toMatchObject({ status: 500, Err: expect.any(String) });
  await createEndpoint();
  expect(attachments.get(ENDPOINT)).toMatchObject({ network: 'app' });
  await expect(service.disable()).rejects.toMatchObject({ code: 'LEAVE_PODS' });
  await attachments.delete(ENDPOINT);
  await service.disable();
  expect([existsSync(plugin()), existsSync(join(folder, 'docker.json'))]).toEqual([false, false]);
});

it('calls attachments what the engine calls their containers, and hears of it', async () => {
  await service.enable(settings());
  await createEndpoint();
  const endpoint = { app: { EndpointID: ENDPOINT } };
  const container = { Id: 'c', Names: ['/web'], Labels: {}, NetworkSettings: { Networks: endpoint } };
  const named = async (name: string) => {
    for (let turn = 0; turn < 200 && attachments.get(ENDPOINT)?.name !== name; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      await clock.run(10);
    }
    return attachments.get(ENDPOINT)?.name;
  };
  containers = [container];
  expect(await named('web')).toBe('web');
  containers = [{ ...container, Names: ['/web2'], Status: 'Up 1 second (unhealthy)' }];
  listeners[0]!.write('{}\n');
  expect(await named('web2')).toBe('web2');
  expect(attachments.get(ENDPOINT)).toMatchObject({
    network: 'app',
    labels: {
      ...{ 'docker.container.id': 'c', 'docker.aliases': 'front' },
      ...{ 'docker.health': 'unhealthy', 'docker.network.id': NETWORK },
    },
  });
  // So it goes on where the driver is enabled once more, though something was to be asked just then.
  listeners[0]!.write('{}\n');
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
  await service.enable(settings());
  containers = [{ ...container, Names: ['/web2b'] }];
  expect(await named('web2b')).toBe('web2b');
  // An engine that ends its stream is asked again.
  listeners.at(-1)!.end();
  containers = [{ ...container, Names: ['/web3'] }];
  expect(await named('web3')).toBe('web3');
  expect(listeners).toHaveLength(3);
});

it('knows the names of networks after a restart, though the engine does not answer yet', async () => {
  await service.enable(settings());
  await createEndpoint();
  await attachments.delete(ENDPOINT);
  await service.stop();
  engine.closeAllConnections();
  engine.close();
  service = newService();
  await service.start();
  await createEndpoint();
  expect(attachments.get(ENDPOINT)).toMatchObject({ network: 'app' });
});

it('waits for a subnet just after the start of the agent, and not for ever', async () => {
  await service.enable(settings());
  await service.stop();
  hasSubnet = false;
  service = newService();
  await service.start();
  const create = async (ms: number) => {
    const created = createEndpoint();
    let answer: Record<string, unknown> | undefined;
    void created.then((said) => (answer = said));
    for (let turn = 0; turn < 300 && answer === undefined && ms > 0; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      await clock.run(100);
      ms -= 100;
      if (turn === 20) hasSubnet = isToCome;
    }
    return created;
  };
  let isToCome = true;
  expect(await create(10_000)).toMatchObject({ status: 200 });
  [hasSubnet, isToCome] = [false, false];
  await attachments.delete(ENDPOINT);
  expect(await create(30_000)).toMatchObject({ status: 500, Err: 'this node has no subnet yet' });
  expect(await create(0)).toMatchObject({ status: 500 });
});

it('removes what the engine has forgotten, after a minute, and nothing while the engine is away', async () => {
  await service.enable(settings());
  await createEndpoint();
  known = [ENDPOINT];
  /** Time passes in steps, as each look waits for the engine's answer. */
  const pass = async (seconds: number) => {
    for (let second = 0; second < seconds; second += 10) {
      await clock.run(10_000);
      await service.looked();
    }
  };
  await pass(120);
  expect(attachments.size).toBe(1);
  known = [];
  await pass(50);
  expect(attachments.size).toBe(1);
  await pass(40);
  expect(attachments.size).toBe(0);
});

describe("the engine's configuration", () => {
  const file = () => join(folder, 'daemon.json');
  const BEFORE = '{\n\t"live-restore": true\n}\n';
  const AFTER = '{\n\t"live-restore": true,\n\t"dns": ["10.42.3.1", "192.0.2.53"]\n}\n';

  it('names this node as a resolver from enable to disable, over restarts', async () => {
    writeFileSync(file(), BEFORE);
    const asked = { ...settings(), daemonConfig: file() };
    expect(await service.enable(asked)).toEqual({ names: { file: file(), isChanged: true } });
    expect(readFileSync(file(), 'utf8')).toBe(AFTER);
    expect(await service.enable(asked)).toEqual({ names: { file: file(), isChanged: false } });
    await createEndpoint();
    await attachments.delete(ENDPOINT);
    await service.stop();
    service = newService();
    await service.start();
    expect(await service.disable()).toEqual({ names: { file: file(), isChanged: true } });
    expect(readFileSync(file(), 'utf8')).toBe(BEFORE);
  });

  it('is left alone, or as it was, without names', async () => {
    expect(await service.enable(settings())).toEqual({});
    expect(existsSync(file())).toBe(false);
    await service.enable({ ...settings(), daemonConfig: file() });
    expect(existsSync(file())).toBe(true);
    await service.enable(settings());
    expect(existsSync(file())).toBe(false);
    address = undefined;
    expect(await service.enable({ ...settings(), daemonConfig: file() })).toEqual({});
    expect(existsSync(file())).toBe(false);
  });

  it('is as it was after a cleanup too, and disable has nothing to do then', async () => {
    writeFileSync(file(), BEFORE);
    withdrawEngineConfig(folder, 'node-a');
    await service.enable({ ...settings(), daemonConfig: file() });
    await service.stop();
    withdrawEngineConfig(folder, 'node-a');
    expect(readFileSync(file(), 'utf8')).toBe(BEFORE);
    service = newService();
    await service.start();
    expect(await service.disable()).toEqual({});
  });

  it('that cannot be read as JSON keeps all as it is', async () => {
    writeFileSync(file(), '{"dns": [');
    const asked = { ...settings(), daemonConfig: file() };
    await expect(service.enable(asked)).rejects.toMatchObject({
      code: 'DOCKER_CONFIG_INVALID',
      message: expect.stringContaining(`${file()} is not as it must be: `),
    });
    expect(readFileSync(file(), 'utf8')).toBe('{"dns": [');
    expect([existsSync(plugin()), existsSync(join(folder, 'docker.json'))]).toEqual([false, false]);
    hasSubnet = false;
    await expect(service.enable(asked)).rejects.toMatchObject({ code: 'NO_SUBNET' });
  });

  it('that names where the node was is a problem until it is enabled again', async () => {
    writeFileSync(file(), BEFORE);
    const asked = { ...settings(), daemonConfig: file() };
    await service.enable(asked);
    expect(service.problems()).toEqual([]);
    address = '10.42.9.1';
    expect(service.problems()).toEqual([expect.stringMatching(/ask 10\.42\.3\.1 .* 10\.42\.9\.1 now/)]);
    await service.enable(asked);
    expect(service.problems()).toEqual([]);
    expect(readFileSync(file(), 'utf8')).toBe(AFTER.replace('10.42.3.1', '10.42.9.1'));
    address = undefined;
    expect(service.problems()).toEqual([]);
  });
});
