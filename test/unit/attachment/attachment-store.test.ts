import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AttachmentRecord } from '../../../src/attachment/attachment.ts';
import { type AttachmentStore, fileAttachmentStore } from '../../../src/attachment/attachment-store.ts';
import { Attachments } from '../../../src/attachment/attachments.ts';
import { hostInterfaceName } from '../../../src/attachment/interface-name.ts';
import { loadOrCreateIdentity } from '../../../src/identity.ts';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { writeStateFile } from '../../../src/state/state-file.ts';
import { LIMITS, SUBNETS } from '../../helpers/attachments.ts';
import { MemoryAttachmentNetwork } from '../../helpers/memory-attachment-network.ts';

const NODE = '0123456789abcdef0123456789abcdef';

const record: AttachmentRecord = {
  ...{ id: 'c1/eth0', client: 'cni', name: 'web', network: 'blue', labels: { app: 'wéb', '': '' } },
  ...{ netns: '/run/netns/c1', ownsNetns: false, netnsIdentity: 'boot/4:9', interfaceName: 'eth0' },
  ...{ hostInterface: 'veth1', mtu: 1300, static: false },
  requested: [parseAddress('10.42.3.7')],
  addresses: ['10.42.3.7', 'fd42:0:0:3::2'].map(parseAddress),
};
const sparse: AttachmentRecord = {
  ...record,
  ...{ id: 'd', client: 'docker', labels: {}, netns: undefined, netnsIdentity: undefined, mtu: undefined },
  ...{ requested: [], addresses: [], hostInterface: 'veth2', remote: true },
};

/** What release 0.1.0 wrote. */
const PODS_OF_0_1_0 = {
  pods: [
    {
      name: 'web',
      netns: '/run/netns/warren-node-a-web',
      addresses: ['10.42.3.2', 'fd42:0:0:3::2'],
      static: true,
    },
    {
      name: 'db',
      netns: '/run/netns/blue',
      external: 'boot/4:9',
      addresses: ['10.42.3.4', 'fd42:0:0:3::4'],
      static: false,
    },
  ],
  last: ['10.42.3.9', 'fd42:0:0:3::9'],
};

let folder = '';
let store: AttachmentStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-attachments-test-'));
  store = fileAttachmentStore(folder, NODE);
});
afterEach(() => rmSync(folder, { recursive: true }));

const writePods = () => writeStateFile(join(folder, 'pods.json'), PODS_OF_0_1_0, NODE);

describe('attachments.json', () => {
  it('gives back what was written', async () => {
    expect(store.read()).toEqual({ attachments: [], last: [] });
    const state = { attachments: [record, sparse], last: [parseAddress('10.42.3.9')] };
    await store.write(state);
    expect(fileAttachmentStore(folder, NODE).read()).toEqual(state);
    expect(readdirSync(folder)).toEqual(['attachments.json']);
    await store.write({ attachments: [sparse], last: [] });
    expect(store.read().attachments).toEqual([sparse]);
  });

  it("is refused if it is damaged, or another node's", async () => {
    await store.write({ attachments: [record], last: [] });
    expect(() => fileAttachmentStore(folder, NODE.replace('0', '1')).read()).toThrow(
      expect.objectContaining({ code: 'STATE_FOREIGN' }),
    );
    const path = join(folder, 'attachments.json');
    writeFileSync(path, readFileSync(path).subarray(0, -20));
    expect(() => store.read()).toThrow(expect.objectContaining({ code: 'STATE_CORRUPT' }));
  });

  it('without an identity beside it is no new node', async () => {
    await store.write({ attachments: [], last: [] });
    expect(() => loadOrCreateIdentity(folder)).toThrow(
      expect.objectContaining({
        code: 'STATE_INCOMPLETE',
        message: expect.stringContaining('attachments.json'),
      }),
    );
  });
});

describe('pods.json of release 0.1.0', () => {
  it('is taken over with all that it says, and goes with the first write', async () => {
    writePods();
    expect(store.isOutdated).toBe(true);
    const state = store.read();
    expect(readdirSync(folder)).toEqual(['pods.json']);
    expect(state.last.map(formatAddress)).toEqual(PODS_OF_0_1_0.last);
    expect(state.attachments).toMatchObject([
      {
        ...{ id: 'web', client: 'pod', name: 'web', network: '', labels: {}, static: true, ownsNetns: true },
        ...{ netns: '/run/netns/warren-node-a-web', netnsIdentity: undefined, interfaceName: 'eth0' },
        // The interface that 0.1.0 made is kept, and with it the connections.
        hostInterface: hostInterfaceName(NODE, 'web'),
      },
      { id: 'db', static: false, ownsNetns: false, netns: '/run/netns/blue', netnsIdentity: 'boot/4:9' },
    ]);
    expect(state.attachments[1]!.addresses.map(formatAddress)).toEqual(PODS_OF_0_1_0.pods[1]!.addresses);
    await store.write(state);
    expect(readdirSync(folder)).toEqual(['attachments.json']);
    expect(store.isOutdated).toBe(false);
    expect(fileAttachmentStore(folder, NODE).read()).toEqual(state);
  });

  it('has the interface names that 0.1.0 made', () => {
    expect(hostInterfaceName('n1', 'web')).toBe('wpf94cbae20da3');
  });

  it('counts no more where a crash has left it beside attachments.json', async () => {
    writePods();
    await store.write({ attachments: [record], last: [] });
    writePods();
    expect(store.read().attachments.map(({ id }) => id)).toEqual(['c1/eth0']);
    await store.write(store.read());
    expect(readdirSync(folder)).toEqual(['attachments.json']);
  });

  it('counts where a crash came before attachments.json was there', async () => {
    writePods();
    const before = store.read();
    writeFileSync(join(folder, 'attachments.json.tmp'), '{"format":"warr');
    expect(store.read()).toEqual(before);
  });

  it('is refused if it is damaged', () => {
    writePods();
    const path = join(folder, 'pods.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace('"db"', '"dc"'));
    expect(() => store.read()).toThrow(expect.objectContaining({ code: 'STATE_CORRUPT' }));
    expect(existsSync(path)).toBe(true);
  });

  it('is taken over by an agent that starts, which keeps addresses and pairs, and remembers it so', async () => {
    writePods();
    const network = new MemoryAttachmentNetwork();
    network.makeNamespace('/run/netns/blue');
    const start = (stateDir: string) =>
      new Attachments({
        ...{ nodeId: NODE, store: fileAttachmentStore(stateDir, NODE), network, limits: LIMITS },
        ...{ subnets: SUBNETS.map(parsePrefix), log: silentLogger },
      });
    const attachments = start(folder);
    expect(readdirSync(folder)).toEqual(['pods.json']);
    await attachments.restore();
    expect(readdirSync(folder)).toEqual(['attachments.json']);
    const list = attachments.list();
    expect(list.map(({ id, addresses }) => [id, addresses.map(formatAddress)])).toEqual(
      PODS_OF_0_1_0.pods.map(({ name, addresses }) => [name, addresses]),
    );
    const next = await attachments.add({ id: 'next', client: 'docker', name: 'next' });
    expect(next.addresses.map(formatAddress)).toEqual(['10.42.3.10', 'fd42:0:0:3::a']);
    // Its copy, as a backup would have it, gives the same.
    const copy = mkdtempSync(join(tmpdir(), 'warren-attachments-test-'));
    cpSync(folder, copy, { recursive: true });
    expect(start(copy).list()).toEqual(attachments.list());
    rmSync(copy, { recursive: true });
  });
});
