import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { fileState } from '../../../src/agent/state.ts';
import { parseConfig } from '../../../src/config/load.ts';
import { privateKeyBytes } from '../../../src/encapsulation/wireguard/x25519.ts';
import { silentLogger } from '../../../src/log/logger.ts';

const folder = mkdtempSync(join(tmpdir(), 'warren-secrets-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('names all keys of the node as what nothing that is handed out may hold, and keeps the tunnel key', async () => {
  const keyFile = join(folder, 'cluster.key');
  writeFileSync(keyFile, `${Buffer.alloc(32, 7).toString('base64')}\n`, { mode: 0o600 });
  const text = `
node: {name: a, stateDir: ${folder}}
cluster: {podCidrs: [10.42.0.0/16], keyFile: ${keyFile}}
`;
  const config = parseConfig(text, 'c.yaml');
  const state = fileState(config, silentLogger);
  expect(state.secrets()).toHaveLength(2);
  const { own } = await state.tunnelKey();
  const secrets = state.secrets().map((secret) => Buffer.from(secret).toString('hex'));
  expect(secrets).toContain(privateKeyBytes(own).toString('hex'));
  expect(secrets).toContain(Buffer.alloc(32, 7).toString('hex'));
  const presharedKey = new Uint8Array(32).fill(9);
  const guest = {
    name: 'laptop',
    isKeyMadeHere: true,
    publicKey: new Uint8Array(32).fill(8),
    dns: [],
    presharedKey,
  };
  const unknown = { endpoint: undefined, lastEndpoint: undefined, nodeEndpoint: undefined };
  await state.guests.write([{ ...guest, ...unknown }]);
  expect(state.secrets().at(-1)).toEqual(presharedKey);
  const stored = readFileSync(join(folder, 'tunnel-key.json'), 'utf8');
  expect(stored).toContain(privateKeyBytes(own).toString('base64'));
  // The next run has the same.
  const again = await fileState(config, silentLogger).tunnelKey();
  expect(again.own.publicKey).toEqual(own.publicKey);
});
