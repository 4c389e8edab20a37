/** An archive over a real state folder holds no key in any form; what would hold one is refused. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { parseTar } from 'nanotar';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AgentState, fileState } from '../../../src/agent/state.ts';
import { parseConfig } from '../../../src/config/load.ts';
import { renderConfig } from '../../../src/config/render.ts';
import { LogRing } from '../../../src/log/log-ring.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { sysdumpArchive } from '../../../src/sysdump/archive.ts';
import { collectSysdump, MAX_FILE_CHARACTERS } from '../../../src/sysdump/collect.ts';
import { linuxFacts } from '../../../src/sysdump/linux-facts.ts';

let folder: string;
let state: AgentState;
let config: ReturnType<typeof parseConfig>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-sysdump-test-'));
  writeFileSync(join(folder, 'cluster.key'), `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  const text = `
node: {name: node-a, stateDir: ${folder}}
cluster: {podCidrs: [10.42.0.0/16], seeds: [192.0.2.1], keyFile: ${folder}/cluster.key}
encapsulation: {type: vxlan-gpe}`;
  config = parseConfig(text, 'test', 'node-a');
  state = fileState(config, silentLogger);
  // A key that is only in the state folder.
  state.keys!.add(randomBytes(32));
});
afterEach(() => rmSync(folder, { recursive: true }));

const collect = (log: string) =>
  collectSysdump({
    reports: { status: () => ({ name: 'node-a' }) },
    config: () => renderConfig(config),
    log: () => log,
    host: () => linuxFacts(folder, 'warren0'),
    secrets: state.secrets,
  });

describe('an archive', () => {
  it('holds what is asked for, and no key in any form', async () => {
    const files = await collect('INFO  started\n');
    const archive = sysdumpArchive({ nodes: [{ node: 'node-a', id: '', files }], unreachable: [] }, 0);
    const tar = gunzipSync(archive);
    const names = parseTar(new Uint8Array(tar)).map(({ name }) => name.replace('warren-sysdump/node-a/', ''));
    expect(names).toEqual(
      expect.arrayContaining([
        'status.json',
        'config.yaml',
        'log.txt',
        'sysctl.txt',
        'ip-links.json',
        'nft.txt',
      ]),
    );
    expect(names.filter((name) => /identity|keys/.test(name))).toEqual([]);

    const identity = readFileSync(join(folder, 'identity.json'), 'utf8');
    const privateKey = /"privateKey":\s*"([^"]+)"/.exec(identity)![1]!;
    const seed = Buffer.from(privateKey, 'base64').subarray(-32);
    const keys = [seed, ...state.keys!.keys.map((key) => Buffer.from(key))];
    expect(keys).toHaveLength(3);
    expect(state.secrets().map((secret) => Buffer.from(secret))).toEqual(keys);
    expect(tar.includes(privateKey)).toBe(false);
    for (const key of keys) {
      for (const form of [
        key,
        ...(['hex', 'base64', 'base64url'] as const).map((name) => key.toString(name)),
      ])
        expect(tar.includes(form)).toBe(false);
    }
  });

  it('is refused where a file would hold a key, were it beyond what fits', async () => {
    for (const secret of state.secrets()) {
      const text = Buffer.from(secret).toString('base64');
      await expect(collect(`WARN  ${text}\n`)).rejects.toMatchObject({ code: 'SYSDUMP_SECRET' });
      const late = 'x'.repeat(MAX_FILE_CHARACTERS - 10) + text;
      await expect(collect(late)).rejects.toMatchObject({ code: 'SYSDUMP_SECRET' });
    }
  });

  it('is refused where it cannot be told what the keys are', async () => {
    rmSync(join(folder, 'identity.json'));
    await expect(collect('')).rejects.toMatchObject({ code: 'STATE_INCOMPLETE' });
  });

  it('says of a file that it was cut', async () => {
    const files = await collect('x'.repeat(MAX_FILE_CHARACTERS + 5));
    expect(files.find(({ name }) => name === 'log.txt')?.text).toMatch(/x\n\[cut: 5 more\]\n$/);
  });

  it('has a folder for each of two nodes with one name, and no other path', () => {
    const files = [{ name: 'log.txt', text: '' }];
    const node = '../../etc';
    const nodes = [
      { node, id: '', files },
      { node, id: 'a1b2c3d4e5', files },
    ];
    // A copy: nanotar reads a view from the beginning of its memory.
    const tar = new Uint8Array(gunzipSync(sysdumpArchive({ nodes, unreachable: [] }, 0)));
    const names = parseTar(tar).map(({ name }) => name);
    expect(names).toEqual(['warren-sysdump/------etc/log.txt', 'warren-sysdump/------etc-a1b2c3d4/log.txt']);
  });
});

describe('the ring of log lines', () => {
  it('keeps the latest within its bound', () => {
    const ring = new LogRing(1000);
    for (let line = 0; line < 500; line += 1) ring.add(`line ${line}\n`);
    const lines = ring.text().trimEnd().split('\n');
    expect(lines.at(-1)).toBe('line 499');
    expect(lines.length).toBeGreaterThan(15);
    expect(ring.text().length).toBeLessThan(1000);
    expect(lines.map((text) => Number(text.slice(5)))).toEqual(lines.map((_, at) => 500 - lines.length + at));
  });
});
