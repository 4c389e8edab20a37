/**
 * The CNI specification 1.1.0, and what earlier versions have otherwise, clause by clause: each row has a clause's place,
 * the clause, and what shows that it holds. The plugin runs over a real control socket, on a host in memory.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VERSIONS } from '../../../src/cni/versions.ts';
import { WarrenError } from '../../../src/errors.ts';
import { formatAddress } from '../../../src/ip/address.ts';
import { CniHost, NETNS } from '../../helpers/cni-host.ts';
import { readDocument } from '../../helpers/markdown.ts';

let host: CniHost;

beforeEach(async () => {
  host = new CniHost();
  await host.start();
});
afterEach(async () => {
  expect(host.memory.violations).toEqual([]);
  await host.remove();
});

const V4 = '10.42.3.2/32';
const V6 = 'fd42:0:0:3::2/128';

async function added(call: Parameters<CniHost['call']>[1] = {}) {
  const answer = await host.call('ADD', call);
  expect(answer).toMatchObject({ exitCode: 0 });
  return answer.json;
}

async function refused(command: string, call: Parameters<CniHost['call']>[1], code: number, text: RegExp) {
  const before = host.left();
  const answer = await host.call(command, call);
  expect(answer.exitCode, answer.text).toBe(1);
  expect(answer.json).toMatchObject({
    code,
    msg: expect.stringMatching(text),
    cniVersion: expect.any(String),
  });
  // Nothing else is written, and nothing is left.
  expect(Object.keys(answer.json).filter((key) => key !== 'details')).toEqual(['cniVersion', 'code', 'msg']);
  expect(host.left()).toEqual(before);
  return answer.json;
}

type Clause = readonly [place: string, clause: string, check: () => Promise<unknown>];

const parameters: readonly Clause[] = [
  [
    '2, Parameters',
    'an operation that is none is an error that names CNI_COMMAND',
    async () => {
      await refused('FROB', {}, 4, /CNI_COMMAND/);
      await refused('', {}, 4, /CNI_COMMAND/);
      await refused('add', {}, 4, /CNI_COMMAND/);
      await refused('ADD', { env: { CNI_COMMAND: undefined } }, 4, /CNI_COMMAND/);
    },
  ],
  [
    '2, Parameters',
    'CNI_CONTAINERID must not be empty, and must start with a letter or digit, with more of them, _ . and - behind',
    async () => {
      for (const id of [
        '',
        undefined,
        '-x',
        '.x',
        '../../etc',
        'a/b',
        'a b',
        'ä',
        'a\n',
        'a+b',
        'x'.repeat(129),
        '$(reboot)',
      ]) {
        for (const command of ['ADD', 'DEL', 'CHECK'])
          await refused(command, { env: { CNI_CONTAINERID: id } }, 4, /CNI_CONTAINERID/);
      }
      await added({ env: { CNI_CONTAINERID: 'x'.repeat(128) }, network: 'n'.repeat(64) });
    },
  ],
  [
    '2, Parameters',
    'CNI_IFNAME must be a name that Linux takes',
    async () => {
      for (const name of ['', undefined, '.', '..', 'a/b', 'a:b', 'a b', 'x'.repeat(16), 'é']) {
        for (const command of ['ADD', 'DEL', 'CHECK'])
          await refused(command, { env: { CNI_IFNAME: name } }, 4, /CNI_IFNAME/);
      }
    },
  ],
  [
    '2, Parameters',
    'CNI_NETNS is required for ADD and CHECK, and must be a namespace',
    async () => {
      for (const netns of ['', undefined, 'web']) {
        for (const command of ['ADD', 'CHECK'])
          await refused(command, { env: { CNI_NETNS: netns } }, 4, /CNI_NETNS/);
      }
      await refused('ADD', { env: { CNI_NETNS: '/run/netns/none' } }, 4, /CNI_NETNS.*none/);
      await refused('ADD', { env: { CNI_NETNS: '/proc/self/ns/net' } }, 4, /CNI_NETNS.*own/);
    },
  ],
  [
    '2, Parameters',
    'all variables that are wrong are named at once',
    async () =>
      refused(
        'ADD',
        { env: { CNI_CONTAINERID: undefined, CNI_IFNAME: undefined, CNI_NETNS: undefined } },
        4,
        /CNI_CONTAINERID.*CNI_IFNAME.*CNI_NETNS/,
      ),
  ],
  [
    '2, Parameters',
    'CNI_ARGS are pairs behind each other; those that are unknown are left alone',
    async () => {
      await refused('ADD', { env: { CNI_ARGS: 'IgnoreUnknown' } }, 4, /CNI_ARGS/);
      await refused('ADD', { env: { CNI_ARGS: '=x' } }, 4, /CNI_ARGS/);
      await added({ env: { CNI_ARGS: 'FOO=BAR;ABC=123;;X=a=b' } });
    },
  ],
  [
    '1, Plugin configuration',
    'the configuration is JSON on standard input',
    async () => {
      for (const input of ['', '{', '[]', 'null', '"x"', '12', '\0']) {
        for (const command of ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC'])
          await refused(command, { input }, 6, /JSON/);
      }
    },
  ],
  [
    '1, Network configuration',
    'name must start with a letter or digit, with more of them, _ . and - behind',
    async () => {
      for (const name of [undefined, '', 7, '-x', 'a/b', 'a+b', 'x'.repeat(65)])
        await refused('ADD', { config: { name } }, 7, /name/);
    },
  ],
  [
    '1, Plugin configuration',
    'keys that are not known are passed by, and those that mean what is not done here are refused with key and value',
    async () => {
      await refused('ADD', { config: { ipam: { type: 'host-local' } } }, 2, /ipam.*host-local/);
      await refused('ADD', { config: { ipMasq: true } }, 2, /ipMasq is true/);
      await added({ config: { ipMasq: false, ipam: {}, keyA: ['some more'], 'cni.dev/x': 1 } });
    },
  ],
  [
    '1, Plugin configuration',
    'our own keys are checked',
    async () => {
      await refused('ADD', { config: { socket: 'agent.sock' } }, 7, /socket/);
      await refused('ADD', { config: { queue: 7 } }, 7, /queue/);
      await refused('ADD', { config: { mtu: 'big' } }, 7, /mtu/);
      await refused('ADD', { config: { mtu: 5 } }, 7, /MTU/);
      // Deletions that are left elsewhere would never be seen by this agent.
      const { details } = await refused('ADD', { config: { queue: '/elsewhere' } }, 7, /elsewhere/);
      expect(details).toContain(host.queue);
      expect((await added({ config: { mtu: 1300 } })).interfaces[1].mtu).toBe(1300);
    },
  ],
];

const versions: readonly Clause[] = [
  [
    '2, VERSION',
    'it says the version it was asked in, and those that it speaks',
    async () => {
      const { json, exitCode } = await host.call('VERSION', {
        input: '{"cniVersion":"1.0.0"}',
        env: { CNI_CONTAINERID: undefined },
      });
      expect(exitCode).toBe(0);
      expect(json).toEqual({
        cniVersion: '1.0.0',
        supportedVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
      });
      expect((await host.call('VERSION', { input: '' })).json.cniVersion).toBe('1.1.0');
      await host.stop();
      expect((await host.call('VERSION')).exitCode).toBe(0);
      await refused('VERSION', { input: '{' }, 6, /JSON/);
    },
  ],
  [
    '5, Error 1',
    'a version that it does not speak is refused',
    async () => {
      for (const version of ['0.1.0', '0.2.0', '1.2.0', '2.0.0', '1.1', 'x', 7, null]) {
        for (const command of ['ADD', 'DEL', 'CHECK', 'STATUS', 'GC'])
          await refused(command, { config: { cniVersion: version } }, 1, /incompatible/);
      }
      await refused('ADD', { config: { cniVersion: undefined } }, 1, /no cniVersion/);
    },
  ],
  [
    '2, CHECK, STATUS, GC',
    'CHECK came with 0.4.0, STATUS and GC with 1.1.0',
    async () => {
      for (const version of ['0.3.0', '0.3.1']) await refused('CHECK', { version }, 1, /0\.4\.0/);
      for (const version of ['0.3.0', '0.3.1', '0.4.0', '1.0.0']) {
        await refused('STATUS', { version }, 1, /1\.1\.0/);
        await refused('GC', { version, config: { 'cni.dev/valid-attachments': [] } }, 1, /1\.1\.0/);
      }
    },
  ],
  ...VERSIONS.map(
    (version): Clause => [
      `5, ADD Success ${version}`,
      'the result has the format of its version',
      async () => {
        const result = await added({ version });
        const isOld = version.startsWith('0.');
        const mtu = version === '1.1.0' ? { mtu: 1400 } : {};
        const { hostInterface } = host.attachments.list()[0]!;
        const mac = expect.stringMatching(/^02(:[0-9a-f]{2}){5}$/);
        expect(result).toEqual({
          cniVersion: version,
          interfaces: [
            { name: hostInterface, mac, ...mtu },
            { name: 'eth0', mac, ...mtu, sandbox: NETNS },
          ],
          ips: [
            { ...(isOld && { version: '4' }), address: V4, gateway: '10.42.3.1', interface: 1 },
            { ...(isOld && { version: '6' }), address: V6, gateway: 'fe80::1', interface: 1 },
          ],
          routes: [
            { dst: '0.0.0.0/0', gw: '10.42.3.1' },
            { dst: '::/0', gw: 'fe80::1' },
          ],
          dns: {},
        });
        expect(result.interfaces[0].mac).not.toBe(result.interfaces[1].mac);
      },
    ],
  ),
  [
    '5, Error',
    'an error says the version of its request',
    async () => {
      expect((await refused('ADD', { version: '0.4.0', env: { CNI_IFNAME: '' } }, 4, /./)).cniVersion).toBe(
        '0.4.0',
      );
      expect((await refused('ADD', { version: '9' }, 1, /./)).cniVersion).toBe('1.1.0');
    },
  ],
];

const add: readonly Clause[] = [
  [
    '2, ADD',
    'the interface of that name is made in the namespace, and the attachment is the agent’s',
    async () => {
      await added({ env: { CNI_IFNAME: 'net0' } });
      expect(host.attachments.list()).toMatchObject([
        {
          id: 'cni/warren/c1/net0',
          client: 'cni',
          network: 'warren',
          name: 'c1',
          netns: NETNS,
          interfaceName: 'net0',
          status: 'ready',
        },
      ]);
    },
  ],
  [
    '2, ADD',
    'an interface of that name that is there already is an error, and nothing is left',
    async () => {
      host.memory.network.makeInterface('eth0', NETNS);
      await refused('ADD', {}, 4, /CNI_IFNAME/);
      expect(host.left()).toEqual([]);
      await added({ env: { CNI_IFNAME: 'eth1' } });
      await refused('ADD', { env: { CNI_CONTAINERID: 'c2', CNI_IFNAME: 'eth1' } }, 4, /CNI_IFNAME/);
    },
  ],
  [
    '2, ADD',
    'one container may be added more than once under different names, and to different networks',
    async () => {
      await added();
      await added({ env: { CNI_IFNAME: 'eth1' } });
      host.memory.network.makeNamespace('/run/netns/other');
      await added({ network: 'other', env: { CNI_NETNS: '/run/netns/other' } });
      expect(host.attachments.size).toBe(3);
    },
  ],
  [
    '5, Error 11',
    'the same ADD again, after one whose answer was lost or that was told to try again, gets what the first one made',
    async () => expect(await added()).toEqual(await added()),
  ],
  [
    '2, ADD',
    'a result of a plugin before is passed on, with ours behind it',
    async () => {
      const prevResult = {
        cniVersion: '1.1.0',
        interfaces: [{ name: 'dummy0', mac: '00:11:22:33:44:55' }],
        ips: [{ address: '192.0.2.1/24', interface: 0 }],
        routes: [{ dst: '192.0.2.0/24' }],
        dns: { nameservers: ['192.0.2.53'] },
        more: 'kept',
      };
      const result = await added({ config: { prevResult } });
      expect(result.interfaces.map(({ name }: { name: string }) => name)).toEqual([
        'dummy0',
        expect.stringMatching(/^wp/),
        'eth0',
      ]);
      expect(result.ips).toMatchObject([
        { address: '192.0.2.1/24', interface: 0 },
        { address: V4, interface: 2 },
        { address: V6, interface: 2 },
      ]);
      expect(result.routes).toHaveLength(3);
      expect(result).toMatchObject({ dns: prevResult.dns, more: 'kept' });
    },
  ],
  [
    '1, dns',
    'what the configuration says of name servers is in the result',
    async () =>
      expect((await added({ config: { dns: { nameservers: ['10.1.0.1'] } } })).dns).toEqual({
        nameservers: ['10.1.0.1'],
      }),
  ],
  [
    '2, ADD',
    'who answers names is in the result, unless the configuration or a plugin before says otherwise',
    async () => {
      const names = { nameservers: ['10.42.3.1'], search: ['warren.warren'] };
      host.names = names;
      expect((await added()).dns).toEqual(names);
      const elsewhere = { nameservers: ['10.1.0.1'] };
      expect((await added({ config: { dns: elsewhere } })).dns).toEqual(elsewhere);
      const prevResult = { cniVersion: '1.1.0', dns: { search: ['example.com'] } };
      expect((await added({ config: { prevResult } })).dns).toEqual({ ...names, ...prevResult.dns });
    },
  ],
  [
    '5, Error 11',
    'an agent that is starting, stopping or away: try again later',
    async () => {
      host.hasSubnet = false;
      await refused('ADD', {}, 11, /no subnet/);
      await host.attachments.close();
      host.hasSubnet = true;
      await refused('ADD', {}, 11, /does not answer/);
      await host.stop();
      await refused('ADD', {}, 11, /does not answer/);
    },
  ],
  [
    '5, Error 100',
    'what the agent cannot do is said with its code',
    async () => {
      host.memory.network.ensure = () => Promise.reject(new Error('no more memory'));
      await refused('ADD', {}, 100, /failed/);
    },
  ],
];

const conventions: readonly Clause[] = [
  [
    'conventions, ips',
    'addresses that the runtime asks for are given, with or without a prefix length, of one family or both',
    async () => {
      const ips = async (call: object) =>
        (await added(call)).ips.map(({ address }: { address: string }) => address);
      expect(await ips({ config: { runtimeConfig: { ips: ['10.42.3.77/24', 'fd42:0:0:3::77'] } } })).toEqual([
        '10.42.3.77/32',
        'fd42:0:0:3::77/128',
      ]);
      host.memory.network.makeNamespace('/run/netns/db');
      const env = { CNI_CONTAINERID: 'c2', CNI_NETNS: '/run/netns/db' };
      expect((await ips({ env, config: { args: { cni: { ips: ['10.42.3.78'] } } } }))[0]).toBe(
        '10.42.3.78/32',
      );
    },
  ],
  [
    'conventions, ips',
    'addresses that cannot be given are refused',
    async () => {
      const asked = (...ips: unknown[]) => ({ config: { runtimeConfig: { ips } } });
      await refused('ADD', asked('192.0.2.1'), 7, /192\.0\.2\.1/);
      await refused('ADD', asked('10.42.3.1'), 7, /10\.42\.3\.1/);
      await refused('ADD', asked('x'), 7, /IP address/);
      await refused('ADD', asked(7), 7, /ips/);
      await refused('ADD', { config: { runtimeConfig: { ips: '10.42.3.7' } } }, 7, /ips/);
      await refused('ADD', { config: { runtimeConfig: [] } }, 7, /runtimeConfig/);
      await refused('ADD', asked('10.42.3.7', '10.42.3.8'), 7, /two addresses/);
      await added(asked('10.42.3.7'));
      host.memory.network.makeNamespace('/run/netns/db');
      const env = { CNI_CONTAINERID: 'c2', CNI_NETNS: '/run/netns/db' };
      await refused('ADD', { ...asked('10.42.3.7'), env }, 100, /10\.42\.3\.7/);
    },
  ],
  [
    'conventions, mac',
    'a hardware address is refused with key and value, wherever it is asked for',
    async () => {
      const mac = '02:11:22:33:44:55';
      await refused(
        'ADD',
        { config: { runtimeConfig: { mac } } },
        2,
        /runtimeConfig\.mac.*02:11:22:33:44:55/,
      );
      await refused('ADD', { config: { args: { cni: { mac } } } }, 2, /args\.cni\.mac.*02:11/);
      await refused('ADD', { env: { CNI_ARGS: `MAC=${mac}` } }, 2, /MAC.*02:11/);
      await added({ config: { runtimeConfig: { mac: '' } } });
    },
  ],
  [
    'conventions, labels',
    'names and labels of the runtime go with the attachment, and what does not fit is left out',
    async () => {
      const CNI_ARGS =
        'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1';
      const annotations = { app: 'web', huge: 'x'.repeat(10_000), bad: 'a\nb', ['__proto__']: 'x' };
      await added({
        env: { CNI_ARGS },
        config: {
          args: { cni: { labels: [{ key: 'tier', value: 'front' }, 'x', {}] } },
          runtimeConfig: { 'io.kubernetes.cri.pod-annotations': annotations },
        },
      });
      expect(host.attachments.list()).toMatchObject([
        {
          name: 'shop/web-0',
          labels: {
            'io.kubernetes.pod.namespace': 'shop',
            'io.kubernetes.pod.name': 'web-0',
            'io.kubernetes.pod.uid': 'u-1',
            tier: 'front',
            app: 'web',
          },
        },
      ]);
      const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}`, 'v'.repeat(100)]));
      host.memory.network.makeNamespace('/run/netns/db');
      await added({
        env: { CNI_CONTAINERID: 'c2', CNI_NETNS: '/run/netns/db' },
        config: { runtimeConfig: { 'io.kubernetes.cri.pod-annotations': many } },
      });
    },
  ],
];

const del: readonly Clause[] = [
  [
    '2, DEL',
    'what ADD has made goes, with the previous result or without',
    async () => {
      for (const version of VERSIONS) {
        const prevResult = await added({ version });
        expect(await host.call('DEL', { version, config: { prevResult } })).toMatchObject({
          exitCode: 0,
          text: '',
        });
        expect(host.left()).toEqual([]);
        await added({ version });
        expect(await host.call('DEL', { version })).toMatchObject({ exitCode: 0, text: '' });
        expect(host.left()).toEqual([]);
      }
    },
  ],
  [
    '2, DEL',
    'without CNI_NETNS, or with one that is gone',
    async () => {
      await added();
      expect(await host.call('DEL', { env: { CNI_NETNS: undefined } })).toMatchObject({ exitCode: 0 });
      expect(host.left()).toEqual([]);
      await added();
      host.memory.network.loseNamespace(NETNS);
      expect(await host.call('DEL')).toMatchObject({ exitCode: 0 });
      expect(host.left()).toEqual([]);
    },
  ],
  [
    '2, DEL',
    'twice, and for what never was',
    async () => {
      await added();
      for (const _ of [1, 2, 3]) expect(await host.call('DEL')).toMatchObject({ exitCode: 0, text: '' });
      expect(await host.call('DEL', { env: { CNI_CONTAINERID: 'never' } })).toMatchObject({ exitCode: 0 });
    },
  ],
  [
    '2, DEL',
    'only the interface that is named, of that network',
    async () => {
      await added();
      await added({ env: { CNI_IFNAME: 'eth1' } });
      await host.call('DEL', { network: 'other' });
      expect(host.attachments.size).toBe(2);
      await host.call('DEL', { env: { CNI_IFNAME: 'eth1' } });
      expect(host.attachments.list().map(({ interfaceName }) => interfaceName)).toEqual(['eth0']);
    },
  ],
  [
    '2, DEL',
    'best effort: whatever the configuration has become, it goes through',
    async () => {
      await added();
      const config = {
        ipMasq: true,
        ipam: { type: 'x' },
        runtimeConfig: { mac: 'x' },
        prevResult: 'nonsense',
      };
      expect(await host.call('DEL', { config, env: { CNI_ARGS: 'nonsense' } })).toMatchObject({
        exitCode: 0,
      });
      expect(host.left()).toEqual([]);
    },
  ],
  [
    '2, DEL',
    'what cannot be removed is an error, for the runtime to come again',
    async () => {
      await added();
      const { remove } = host.memory.network;
      host.memory.network.remove = () => Promise.reject(new Error('busy'));
      expect(await host.call('DEL')).toMatchObject({ exitCode: 1, json: { code: 100 } });
      host.memory.network.remove = remove;
      expect(await host.call('DEL')).toMatchObject({ exitCode: 0 });
      expect(host.left()).toEqual([]);
    },
  ],
];

const check: readonly Clause[] = [
  [
    '2, CHECK',
    'nothing is wrong right after an ADD, also where plugins behind have added something',
    async () => {
      for (const version of ['0.4.0', '1.0.0', '1.1.0']) {
        const prevResult = await added({ version });
        const more = {
          ...prevResult,
          interfaces: [...prevResult.interfaces, { name: 'other0', mac: '' }],
          ips: [...prevResult.ips, { address: '192.0.2.1/24', interface: 2 }],
          routes: [],
        };
        for (const result of [prevResult, more])
          expect(await host.call('CHECK', { version, config: { prevResult: result } })).toMatchObject({
            exitCode: 0,
            text: '',
          });
        await host.call('DEL', { version });
      }
    },
  ],
  ['2, CHECK', 'prevResult is needed', async () => refused('CHECK', {}, 7, /prevResult/)],
  [
    '2, CHECK',
    'an interface, address or route that is in prevResult and missing is an error',
    async () => {
      const prevResult = await added();
      const damaged = async (text: RegExp, result = prevResult) => {
        const { details } = await refused('CHECK', { config: { prevResult: result } }, 101, /damaged/);
        expect(details).toMatch(text);
      };
      await damaged(/no interface eth0/, { ...prevResult, interfaces: [] });
      await damaged(/does not say so/, { ...prevResult, ips: [] });
      await damaged(/192\.0\.2\.7/, {
        ...prevResult,
        ips: [...prevResult.ips, { address: '192.0.2.7/24', interface: 1 }],
      });
      host.memory.network.innerDamage.set('cni/warren/c1/eth0', 'eth0 lacks 10.42.3.2');
      await damaged(/lacks 10\.42\.3\.2/);
      host.memory.network.innerDamage.clear();
      host.memory.network.damage('cni/warren/c1/eth0');
      await damaged(/gone or changed/);
      host.memory.network.loseNamespace(NETNS);
      await damaged(/namespace .* is gone/);
    },
  ],
  [
    '2, CHECK',
    'a container that cannot be reached is an error',
    async () => {
      const prevResult = await added();
      host.isForwarding = false;
      expect((await refused('CHECK', { config: { prevResult } }, 101, /damaged/)).details).toMatch(
        /overlay is not up/,
      );
      await host.stop();
      await refused('CHECK', { config: { prevResult } }, 11, /does not answer/);
    },
  ],
  [
    '5, Error 3',
    'a container that was never added, or is deleted, is unknown',
    async () => {
      const prevResult = await added();
      await host.call('DEL');
      await refused('CHECK', { config: { prevResult } }, 3, /c1/);
    },
  ],
];

const status: readonly Clause[] = [
  [
    '2, STATUS',
    'nothing is said where an ADD can be served; no variable is needed',
    async () => {
      const env = {
        CNI_CONTAINERID: undefined,
        CNI_IFNAME: undefined,
        CNI_NETNS: undefined,
        CNI_PATH: undefined,
      };
      expect(await host.call('STATUS', { env })).toMatchObject({ exitCode: 0, text: '' });
    },
  ],
  [
    '2, STATUS 50',
    'no ADD can be served: there is no subnet, or no free address',
    async () => {
      host.hasSubnet = false;
      await refused('STATUS', {}, 50, /cannot attach/);
      host.hasSubnet = true;
      host.subnets = ['10.42.3.0/30'];
      await host.stop();
      await host.start();
      expect(await host.call('STATUS')).toMatchObject({ exitCode: 0 });
      await added();
      expect((await refused('STATUS', {}, 50, /cannot attach/)).details).toMatch(/no free address/);
    },
  ],
  [
    '2, STATUS 51',
    'nor do packets flow: the overlay is not up, or the agent is away',
    async () => {
      host.isForwarding = false;
      await refused('STATUS', {}, 51, /cannot attach/);
      await host.stop();
      await refused('STATUS', {}, 51, /does not answer/);
    },
  ],
];

const gc: readonly Clause[] = [
  [
    '2, GC',
    'all of the network go but those that are named; those of other networks and of pods stay',
    async () => {
      for (const name of ['a', 'b', 'c']) host.memory.network.makeNamespace(`/run/netns/${name}`);
      const of = (id: string) => ({ env: { CNI_CONTAINERID: id, CNI_NETNS: `/run/netns/${id}` } });
      await added(of('a'));
      await added(of('b'));
      await added({ ...of('b'), env: { ...of('b').env, CNI_IFNAME: 'eth1' } });
      await added({ ...of('c'), network: 'other' });
      await host.attachments.add({
        id: 'pod',
        client: 'pod',
        name: 'pod',
        network: 'warren',
        interfaceName: 'eth9',
        netns: NETNS,
      });
      const valid = [
        { containerID: 'b', ifname: 'eth1' },
        { containerID: '../..', ifname: 'x' },
      ];
      const env = { CNI_CONTAINERID: undefined, CNI_IFNAME: undefined, CNI_NETNS: undefined };
      expect(await host.call('GC', { env, config: { 'cni.dev/valid-attachments': valid } })).toMatchObject({
        exitCode: 0,
        text: '',
      });
      expect(host.attachments.list().map(({ id }) => id)).toEqual([
        'cni/warren/b/eth1',
        'cni/other/c/eth0',
        'pod',
      ]);
      expect(
        await host.call('GC', { network: 'other', config: { 'cni.dev/valid-attachments': [] } }),
      ).toMatchObject({ exitCode: 0 });
      expect(host.attachments.list().map(({ id }) => id)).toEqual(['cni/warren/b/eth1', 'pod']);
    },
  ],
  [
    '2, GC',
    'the list must be there; libcni writes an empty one as null, and wrote it under another name before',
    async () => {
      await added();
      await refused('GC', {}, 7, /valid-attachments/);
      await refused('GC', { config: { 'cni.dev/valid-attachments': {} } }, 7, /valid-attachments/);
      await refused(
        'GC',
        { config: { 'cni.dev/valid-attachments': [{ containerID: 'c1' }] } },
        7,
        /valid-attachments/,
      );
      expect(host.attachments.size).toBe(1);
      const valid = [{ containerID: 'c1', ifname: 'eth0' }];
      expect(await host.call('GC', { config: { 'cni.dev/attachments': valid } })).toMatchObject({
        exitCode: 0,
      });
      expect(host.attachments.size).toBe(1);
      expect(await host.call('GC', { config: { 'cni.dev/valid-attachments': null } })).toMatchObject({
        exitCode: 0,
      });
      expect(host.left()).toEqual([]);
    },
  ],
  [
    '2, GC',
    'as many as there can be are named at once',
    async () => {
      await added();
      const valid = Array.from({ length: 4096 }, (_, i) => ({
        containerID: `${'c'.repeat(64)}${i}`,
        ifname: 'eth0',
      }));
      valid.push({ containerID: 'c1', ifname: 'eth0' });
      expect(await host.call('GC', { config: { 'cni.dev/valid-attachments': valid } })).toMatchObject({
        exitCode: 0,
      });
      expect(host.attachments.size).toBe(1);
    },
  ],
  [
    '2, GC',
    'it goes on past what cannot be removed, and says what that was',
    async () => {
      for (const name of ['a', 'b']) {
        host.memory.network.makeNamespace(`/run/netns/${name}`);
        await added({ env: { CNI_CONTAINERID: name, CNI_NETNS: `/run/netns/${name}` } });
      }
      const { network } = host.memory;
      const first = host.attachments.list()[0]!.hostInterface;
      const remove = network.remove.bind(network);
      network.remove = (link) =>
        link.hostInterface === first ? Promise.reject(new Error('busy')) : remove(link);
      const answer = await host.call('GC', { config: { 'cni.dev/valid-attachments': [] } });
      expect(answer).toMatchObject({
        exitCode: 1,
        json: { code: 100, details: expect.stringMatching(/cni\/warren\/a\/eth0.*busy/) },
      });
      expect(host.attachments.list().map(({ id }) => id)).toEqual(['cni/warren/a/eth0']);
    },
  ],
  [
    '2, GC',
    'an agent that is away collects later',
    async () => {
      await host.stop();
      await refused('GC', { config: { 'cni.dev/valid-attachments': [] } }, 11, /does not answer/);
    },
  ],
];

const queue: readonly Clause[] = [
  [
    '2, DEL',
    'with the agent away it is left for it, once, and worked off at its start',
    async () => {
      await added();
      await host.stop();
      for (const _ of [1, 2]) expect(await host.call('DEL')).toMatchObject({ exitCode: 0, text: '' });
      expect(readdirSync(host.queue)).toEqual(['warren+c1+eth0']);
      await host.start();
      await host.clock.run(1000);
      expect([host.left(), readdirSync(host.queue)]).toEqual([[], []]);
    },
  ],
  [
    '2, DEL',
    'for an agent that never attached anything nothing is left',
    async () => {
      await host.stop();
      expect(await host.call('DEL')).toMatchObject({ exitCode: 0, text: '' });
      expect(() => readdirSync(host.queue)).toThrow(/ENOENT/);
    },
  ],
  [
    '2, DEL',
    'a stopping agent takes no more: it is left for the next one',
    async () => {
      await added();
      await host.attachments.close();
      expect(await host.call('DEL')).toMatchObject({ exitCode: 0, text: '' });
      expect(readdirSync(host.queue)).toHaveLength(1);
    },
  ],
  [
    '2, DEL',
    'what is queued does not take away a container that was added again after it',
    async () => {
      await added();
      await host.stop();
      await host.call('DEL');
      const serial = [...host.memory.network.pairs.values()][0]!.serial;
      // The start has not looked yet: the ADD comes first.
      const path = join(host.queue, 'warren+c1+eth0');
      await host.start();
      await host.clock.run(1000);
      await added();
      writeFileSync(path, '');
      await added();
      expect(readdirSync(host.queue)).toEqual([]);
      expect([...host.memory.network.pairs.values()][0]!.serial).toBeGreaterThan(serial + 1);
      await host.clock.run(120_000);
      expect(host.attachments.size).toBe(1);
    },
  ],
  [
    '2, DEL',
    'an agent that hung looks again after a while, and throws out what is no deletion',
    async () => {
      await added();
      writeFileSync(join(host.queue, 'warren+c1+eth0'), '');
      mkdirSync(join(host.queue, 'nonsense'));
      writeFileSync(join(host.queue, 'warren+..+eth0'), '');
      await host.clock.run(11_000);
      expect([host.left(), readdirSync(host.queue)]).toEqual([[], []]);
    },
  ],
  [
    '5, Error 11',
    'the queue has a bound; one that is in it already is taken all the same',
    async () => {
      await added();
      await host.stop();
      for (let i = 0; i < 4096; i++) writeFileSync(join(host.queue, `warren+x${i}+eth0`), '');
      expect(await host.call('DEL')).toMatchObject({ exitCode: 1, json: { code: 11 } });
      expect(await host.call('DEL', { env: { CNI_CONTAINERID: 'x7' } })).toMatchObject({ exitCode: 0 });
    },
  ],
  [
    '5, Error 11',
    'a container whose network policies are not in force yet is tried again later',
    async () => {
      host.attachments.add = async () => {
        throw new WarrenError('POLICY_LATE', 'the network policies of web are not in force');
      };
      expect(await host.call('ADD')).toMatchObject({ exitCode: 1, json: { code: 11 } });
    },
  ],
  [
    '5, Error 5',
    'a queue that cannot be written is an error',
    async () => {
      await host.stop();
      mkdirSync(dirname(host.queue), { recursive: true });
      writeFileSync(host.queue, 'a file');
      expect(await host.call('DEL')).toMatchObject({ exitCode: 1, json: { code: 5 } });
    },
  ],
];

const ALL = [
  ...[...parameters, ...versions, ...add, ...conventions],
  ...[...del, ...check, ...status, ...gc, ...queue],
];

describe('the CNI specification', () => {
  it.each(ALL)('%s: %s', async (_place, _clause, holds) => {
    await holds();
  });

  it('is in the documentation, clause by clause', () => {
    const text = readDocument('docs/cni.md');
    const table = text.slice(text.indexOf('| place | clause |')).split('\n').slice(2);
    const rows = table.slice(0, table.indexOf(''));
    expect(rows).toEqual(ALL.map(([place, clause]) => `| ${place} | ${clause} |`));
  });

  it('is answered for a standard input that cannot be read', async () => {
    const { runPlugin } = await import('../../../src/cni/plugin.ts');
    const outcome = await runPlugin({ CNI_COMMAND: 'ADD' }, () => Promise.reject(new Error('EIO')));
    expect(outcome.exitCode).toBe(1);
    expect(JSON.parse(outcome.text)).toMatchObject({ code: 5, details: 'EIO' });
  });
});

describe('what no runtime says', () => {
  it('containers whose namespace is gone for good are removed, and no others', async () => {
    host.memory.network.makeNamespace('/run/netns/db');
    await added();
    await added({ env: { CNI_CONTAINERID: 'c2', CNI_NETNS: '/run/netns/db' } });
    host.memory.network.loseNamespace(NETNS);
    // Gone at one look only: it may be mounted again.
    await host.clock.run(11_000);
    expect(host.attachments.size).toBe(2);
    await host.clock.run(11_000);
    expect(host.attachments.list().map(({ id, addresses }) => [id, addresses.map(formatAddress)])).toEqual([
      ['cni/warren/c2/eth0', ['10.42.3.3', 'fd42:0:0:3::3']],
    ]);
    expect(host.left()).toHaveLength(2);
  });

  it('a container that was never deleted makes room for another one with its id', async () => {
    const first = await added();
    host.memory.network.loseNamespace(NETNS);
    host.memory.network.makeNamespace('/proc/42/ns/net');
    const second = await added({
      env: { CNI_NETNS: '/proc/42/ns/net', CNI_ARGS: 'K8S_POD_NAME=again' },
    });
    expect(second.ips[0].address).not.toBe(first.ips[0].address);
    expect(host.left()).toHaveLength(2);
    // But not one that is alive.
    host.memory.network.makeNamespace('/proc/43/ns/net');
    await refused('ADD', { env: { CNI_NETNS: '/proc/43/ns/net' } }, 100, /attached already/);
  });

  it('a namespace that comes back in time keeps its container', async () => {
    await added();
    host.memory.network.loseNamespace(NETNS);
    await host.clock.run(11_000);
    host.memory.network.makeNamespace(NETNS);
    await host.clock.run(8_000);
    expect(host.attachments.size).toBe(1);
  });
});
