/** Containers of two Docker engines on whole agents: who is let through follows what all nodes have attached. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { HostRules } from '../../src/host/rules/host-rules.ts';
import type { IsolatedGroup } from '../../src/host/rules/network-isolation.ts';
import { formatAddress } from '../../src/ip/address.ts';
import { World, type WorldNode } from './world.ts';

/** The names of networks by the first letter of their ids. */
const NETWORKS: Readonly<Record<string, string>> = { a: 'app', d: 'db' };
const id = (letter: string) => letter.repeat(64);

class MemoryRules implements HostRules {
  groups: readonly IsolatedGroup[] = [];
  async apply(): Promise<void> {}
  async isolate(groups: readonly IsolatedGroup[]): Promise<void> {
    this.groups = groups;
  }
  async isolated(): Promise<ReadonlyMap<string, readonly string[]>> {
    return new Map(this.groups.map(({ key, reachable }) => [key, reachable.map(formatAddress)]));
  }
  async repair(): Promise<number> {
    return 0;
  }
  watch(): { stop(): void } {
    return { stop: () => {} };
  }
  problems(): string[] {
    return [];
  }
}

/** A node with an engine that knows its networks' names, and nothing of its containers. */
class Place {
  readonly folder: string;
  readonly rules = new MemoryRules();
  readonly node: WorldNode;
  readonly #engine: Server;

  constructor(world: World, folder: string) {
    mkdirSync(folder);
    this.folder = folder;
    this.node = world.add({ dockerFolder: folder, hostRules: this.rules });
    this.#engine = createServer((asked, response) => {
      const found = /^\/networks\/(.)/.exec(asked.url!)?.[1];
      if (found === undefined) response.statusCode = 404;
      response.end(JSON.stringify({ Id: id(found ?? ''), Name: NETWORKS[found ?? ''], Driver: 'warren' }));
    });
  }

  async enable(): Promise<void> {
    await new Promise<void>((resolve) => this.#engine.listen(this.engine, resolve));
    await (await this.node.commands.docker()).enable({ plugin: this.plugin, engine: this.engine });
  }

  get engine(): string {
    return join(this.folder, 'docker.sock');
  }

  get plugin(): string {
    return join(this.folder, 'warren.sock');
  }

  close(): void {
    this.#engine.closeAllConnections();
    this.#engine.close();
  }

  /** Interface and whom it reaches, for each container here. */
  get reaches(): Record<string, string[]> {
    return Object.fromEntries(
      this.rules.groups.flatMap(({ interfaces, reachable }) => {
        const texts = reachable.map(formatAddress).filter((text) => text.includes('.'));
        return interfaces.map((name) => [name, texts.sort()]);
      }),
    );
  }

  ask(method: string, body: object): Promise<{ Err?: string }> {
    return new Promise((resolve, reject) => {
      const asked = request(
        { socketPath: this.plugin, path: `/NetworkDriver.${method}`, method: 'POST' },
        (answer) => {
          let text = '';
          answer.on('data', (chunk) => (text += chunk));
          answer.on('end', () => resolve(JSON.parse(text)));
        },
      );
      asked.on('error', reject);
      asked.end(JSON.stringify(body));
    });
  }

  /** Its IPv4 address. */
  async create(network: string, endpoint: string): Promise<string> {
    const said = await this.ask('CreateEndpoint', { NetworkID: id(network), EndpointID: id(endpoint) });
    expect(said.Err).toBeUndefined();
    const entry = this.node.model.inventory().find(({ name }) => name === endpoint.repeat(12));
    return entry!.addresses[0]!;
  }

  delete(endpoint: string): Promise<{ Err?: string }> {
    return this.ask('DeleteEndpoint', { NetworkID: id('a'), EndpointID: id(endpoint) });
  }
}

let folder: string;
let world: World;
let a: Place;
let b: Place;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warren-docker-cluster-'));
  world = new World(1);
  [a, b] = [new Place(world, join(folder, 'a')), new Place(world, join(folder, 'b'))];
  for (const { node } of [a, b]) await node.start();
  await world.settle();
  for (const place of [a, b]) await place.enable();
});
afterEach(async () => {
  await world.stop();
  for (const place of [a, b]) place.close();
  rmSync(folder, { recursive: true });
});

it('a container is behind rules before it starts, and is let through elsewhere within a second', async () => {
  const web = await a.create('a', '1');
  expect(Object.values(a.reaches)).toEqual([[web]]);
  const other = await b.create('a', '2');
  // Node b has heard of the first one by now or not, node a not of the second one.
  expect(Object.values(a.reaches)).toEqual([[web]]);
  await world.advance(1000);
  expect(Object.values(a.reaches)).toEqual([[web, other].sort()]);
  expect(Object.values(b.reaches)).toEqual([[web, other].sort()]);
  const db = await b.create('d', '3');
  await world.advance(1000);
  expect(Object.values(b.reaches)).toContainEqual([db]);
  expect(Object.values(a.reaches)).toEqual([[web, other].sort()]);
  await b.delete('2');
  await world.advance(1000);
  expect(Object.values(a.reaches)).toEqual([[web]]);
});

it('a restart of the agent lets through what it did, and then what is still there', async () => {
  const web = await a.create('a', '1');
  const other = await b.create('a', '2');
  await world.advance(1000);
  await a.node.stop();
  await b.delete('2');
  await a.node.start();
  await world.advance(100);
  expect(Object.values(a.reaches)).toEqual([[web, other].sort()]);
  await world.advance(15_000);
  expect(Object.values(a.reaches)).toEqual([[web]]);
});

it('the engine is told where the node answers names, and what the host asks itself', async () => {
  const daemonConfig = join(folder, 'daemon.json');
  const docker = await a.node.commands.docker();
  const { names } = await docker.enable({ plugin: a.plugin, engine: a.engine, daemonConfig });
  expect(names).toEqual({ file: daemonConfig, isChanged: true });
  const [own, ownV6] = [...a.node.names.listeners.keys()];
  expect([own, ownV6]).toEqual([expect.stringMatching(/^10\.42\./), expect.stringMatching(/^fd42:/)]);
  expect(JSON.parse(readFileSync(daemonConfig, 'utf8'))).toEqual({ dns: [own, '192.0.2.53'] });
  await a.node.kill();
  await a.node.start();
  await world.settle();
  expect(a.node.model.status().cluster.problems).toEqual([]);
  await a.node.commands.docker().then((one) => one.disable());
  expect(() => readFileSync(daemonConfig)).toThrow('ENOENT');
});
