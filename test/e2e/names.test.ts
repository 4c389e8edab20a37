/** Names for real: two agents, their pods' stub resolvers, sockets on port 53, a resolver of the host's. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { callPlugin } from '../helpers/cni-plugin.ts';
import { ROOT } from '../helpers/markdown.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { throwawayNetns } from '../helpers/throwaway-netns.ts';

const NONE = lacking('root', 'ip', 'ping', 'nsenter', 'nft');
const RESOLVER = '192.0.2.53';

/** A resolver that answers every A question with 198.51.100.80, and over UDP that there is more. */
const UPSTREAM = `
const { createSocket } = require('node:dgram');
const { createServer } = require('node:net');
const answer = (query, isCut) => {
  const end = query.indexOf(0, 12) + 5;
  const head = Buffer.from(query.subarray(0, end));
  head.writeUInt16BE(isCut ? 0x8380 : 0x8180, 2);
  head.writeUInt16BE(isCut ? 0 : 1, 6);
  head.writeUInt32BE(0, 8);
  return isCut ? head : Buffer.concat([head, Buffer.from('c00c00010001000000640004c6336450', 'hex')]);
};
const udp = createSocket('udp4').on('message', (query, from) => udp.send(answer(query, true), from.port, from.address));
createServer((socket) => socket.once('data', (bytes) => {
  const reply = answer(bytes.subarray(2), false);
  socket.end(Buffer.concat([Buffer.from([0, reply.length]), reply]));
})).listen(53, '${RESOLVER}', () => udp.bind(53, '${RESOLVER}', () => console.log('ready')));
`;
/** Asks the resolvers in /etc/resolv.conf, all questions at once: a stub resolver of its own (c-ares), and the system's. */
const STUB = `
const { promises: dns } = require('node:dns');
const ask = (kind, name) =>
  kind === 'system' ? dns.lookup(name, { all: true }).then((all) => all.map(({ address }) => address))
  : kind === 'reverse' ? dns.reverse(name) : dns.resolve(name, kind);
const asked = process.argv.slice(1).map((text) => text.split(' '));
Promise.all(asked.map((one) => ask(...one).then((all) => all.sort(), ({ code }) => [code])))
  .then((all) => console.log(JSON.stringify(all)));
`;

describeUnless(NONE, 'names', () => {
  let lab: Lab;
  let a: LabNode;
  let b: LabNode;
  const ending: (() => void)[] = [];

  beforeAll(async () => {
    lab = await Lab.up({
      name: 'names',
      nodes: 2,
      pods: 0,
      config: () => ({ dns: { resolvers: [RESOLVER] } }),
    });
    [a, b] = [lab.node(0), lab.node(1)];
    await a.client().addPod('web', { labels: { 'warren.service': 'shop' } });
    await b.client().addPod('db', { labels: { 'warren.service': 'shop', 'warren.ports': 'sql:5432' } });
  });
  afterAll(async () => {
    for (const end of ending) end();
    await lab?.down();
  });

  const warren = (node: LabNode, ...argv: string[]) =>
    execFileSync(process.execPath, [join(ROOT, 'dist/bin/warren.js'), ...argv], {
      encoding: 'utf8',
      env: { ...process.env, WARREN_SOCKET: node.socket },
    });
  /** Each question is a kind and a name. */
  const ask = (node: LabNode, pod: string, ...questions: string[]): unknown[] =>
    JSON.parse(warren(node, 'exec', pod, '--', process.execPath, '-e', STUB, ...questions));
  const addresses = async (node: LabNode, pod: string) =>
    (await node.client().pods()).find(({ name }) => name === pod)!.addresses;

  test('pods of two nodes find each other, as their stub resolvers ask', async () => {
    const web = await addresses(a, 'web');
    const db = await addresses(b, 'db');
    const name = `db.${b.name}.warren`;
    await expect.poll(() => ask(a, 'web', `A ${name}`), { timeout: 5000 }).toEqual([[db[0]]]);
    const none = `A none.${b.name}.warren`;
    const sql = 'SRV _sql._tcp.shop.warren';
    expect(ask(a, 'web', `AAAA ${name}`, `reverse ${db[1]}`, none, sql)).toEqual([
      [db[1]],
      [name],
      ['ENOTFOUND'],
      [{ name, port: 5432, priority: 0, weight: 0 }],
    ]);
    expect(ask(b, 'db', `system web.${a.name}.warren`, 'system shop')).toEqual([
      [...web].sort(),
      [...web, ...db].sort(),
    ]);
    // Not the host's own programs, nor other pods' files.
    const file = `/etc/netns/warren-${a.name}-web/resolv.conf`;
    expect(existsSync(file)).toBe(true);
    await a.client().removePod('web');
    await expect.poll(() => existsSync(file), { timeout: 5000 }).toBe(false);
    await expect.poll(() => ask(b, 'db', 'system shop'), { timeout: 5000 }).toEqual([[...db].sort()]);
  });

  test('other names are asked of the host’s resolver, over TCP what is too long, and not for others', async () => {
    await a.exec(['ip', 'address', 'add', `${RESOLVER}/32`, 'dev', 'lo']);
    const server = spawn('nsenter', [`--net=${a.netns}`, '--', process.execPath, '-e', UPSTREAM]);
    ending.push(() => server.kill());
    await new Promise((resolve) => server.stdout.once('data', resolve));
    await a.client().addPod('app', {});
    await expect.poll(() => ask(a, 'app', 'A example.com'), { timeout: 5000 }).toEqual([['198.51.100.80']]);
    const { dns } = await a.client().status();
    expect(dns.forwards).toMatchObject({ udp: 1, tcp: 1, answered: 1 });
    expect(ask(a, 'app', 'A EXAMPLE.com')).toEqual([['198.51.100.80']]);
    expect((await a.client().status()).dns.cache).toMatchObject({ hits: 1, entries: 1 });
    // From the underlay, where the other node has a route to the overlay address.
    const [own] = dns.addresses;
    const stranger = await lab.addHost('stranger');
    await stranger.exec(['ip', 'route', 'add', `${own}/32`, 'via', a.underlayAddress]);
    const script = `
      const { Resolver } = require('node:dns').promises;
      const resolver = new Resolver({ timeout: 1000, tries: 1 });
      resolver.setServers(['${own}']);
      resolver.resolve4('example.com').then(console.log, ({ code }) => console.log(code));`;
    expect((await stranger.exec([process.execPath, '-e', script])).stdout).toContain('EREFUSED');
  });

  test('containers of CNI are told who answers, and are found', async () => {
    const netns = throwawayNetns();
    ending.push(() => netns.remove());
    const env = { CNI_ARGS: 'K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart' };
    const { exitCode, json, text } = await callPlugin(b, 'ADD', {
      containerId: 'cart',
      netns: netns.path,
      env,
    });
    expect(exitCode, text).toBe(0);
    const { dns } = await b.client().status();
    expect(json.dns).toEqual({ nameservers: dns.addresses, search: ['warren.warren'] });
    const own = json.ips.map(({ address }: { address: string }) => address.split('/')[0]!);
    const found = () => ask(a, 'app', `system cart.shop.${b.name}.warren`)[0];
    await expect.poll(found, { timeout: 5000 }).toEqual([...own].sort());
    await callPlugin(b, 'DEL', { containerId: 'cart' });
    await expect.poll(found, { timeout: 5000 }).toEqual(['ENOTFOUND']);
  });
});
