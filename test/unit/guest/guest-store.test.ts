import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fileGuestStore, type GuestRecord, type GuestStore } from '../../../src/guest/guest-store.ts';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';

const NODE = '0123456789abcdef0123456789abcdef';
const laptop: GuestRecord = {
  ...{ name: 'laptop', isKeyMadeHere: true, nodeEndpoint: 'vpn.example.org:51820', dns: ['10.42.0.53'] },
  ...{ publicKey: new Uint8Array(32).fill(1), presharedKey: new Uint8Array(32).fill(2) },
  ...{ endpoint: undefined, lastEndpoint: parseEndpoint('[2001:db8::1]:51820') },
};
const office: GuestRecord = {
  ...{ name: 'office', isKeyMadeHere: false, nodeEndpoint: undefined, dns: [] },
  ...{ publicKey: new Uint8Array(32).fill(3), presharedKey: undefined },
  ...{ endpoint: parseEndpoint('192.0.2.7:1'), lastEndpoint: undefined },
};

let folder = '';
let path = '';
let store: GuestStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-guests-test-'));
  path = join(folder, 'wireguard-peers.json');
  store = fileGuestStore(folder, NODE);
});
afterEach(() => rmSync(folder, { recursive: true }));

it('is read as it was written, by root alone', async () => {
  expect(store.read()).toEqual([]);
  await store.write([laptop, office]);
  expect(store.read()).toEqual([laptop, office]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it("is an error where it was changed, or is another node's", async () => {
  await store.write([laptop]);
  expect(() => fileGuestStore(folder, NODE.replace('0', '1')).read()).toThrow(/node 0123/);
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.replace('laptop', 'tablet'));
  expect(() => store.read()).toThrow(/does not match its checksum/);
  writeFileSync(path, text.slice(0, -20));
  expect(() => store.read()).toThrow(/wireguard-peers\.json/);
});
