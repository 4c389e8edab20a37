import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type EngineConfig, planEngineConfig, writeEngineConfig } from '../../../src/docker/engine-config.ts';

let folder: string;
const path = (name = 'daemon.json') => join(folder, name);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-daemon-json-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function change(before: EngineConfig | undefined, file?: string, others: readonly string[] = ['192.0.2.53']) {
  const wanted = file === undefined ? undefined : { path: file, resolvers: { address: '10.42.3.1', others } };
  const plan = planEngineConfig(before, wanted);
  writeEngineConfig(plan);
  return plan.config;
}
const dns = (name?: string) => JSON.parse(readFileSync(path(name), 'utf8')).dns;

it('makes the file and its folder, which others may read, and takes the file away again', () => {
  const file = join(folder, 'docker', 'daemon.json');
  const before = process.umask(0o077);
  const config = change(undefined, file);
  process.umask(before);
  expect(statSync(file).mode & 0o777).toBe(0o644);
  expect(change(config)).toBeUndefined();
  expect(readdirSync(join(folder, 'docker'))).toEqual([]);
});

it('keeps a file that somebody has added to', () => {
  const config = change(undefined, path());
  writeFileSync(path(), readFileSync(path(), 'utf8').replace('{', '{"debug": true,'));
  change(config);
  expect(JSON.parse(readFileSync(path(), 'utf8'))).toEqual({ debug: true });
});

it('remembers that it made the file, however often it is asked', () => {
  let config = change(undefined, path());
  for (const others of [[], ['192.0.2.54'], ['192.0.2.54']]) config = change(config, path(), others);
  expect(dns()).toEqual(['10.42.3.1', '192.0.2.54']);
  change(config);
  expect(existsSync(path())).toBe(false);
});

it('changes what a link leads to, with its mode', () => {
  writeFileSync(path('real.json'), '{}');
  chmodSync(path('real.json'), 0o640);
  symlinkSync(path('real.json'), path());
  change(undefined, path());
  expect(lstatSync(path()).isSymbolicLink()).toBe(true);
  expect([statSync(path('real.json')).mode & 0o777, dns('real.json')]).toEqual([
    0o640,
    ['10.42.3.1', '192.0.2.53'],
  ]);
});

it('moves to another file', () => {
  const config = change(undefined, path('a.json'));
  change(config, path('b.json'));
  expect(readdirSync(folder)).toEqual(['b.json']);
});

it('leaves out resolvers that a container does not reach', () => {
  const far = ['127.0.0.53', '::1', '0.0.0.0', 'fe80::1%eth0', '2001:db8::53', '192.0.2.53'];
  change(undefined, path(), far);
  expect(dns()).toEqual(['10.42.3.1', '2001:db8::53', '192.0.2.53']);
  const only = () =>
    planEngineConfig(undefined, { path: path('b'), resolvers: { address: 'a', others: ['::1'] } });
  expect(only).toThrow(expect.objectContaining({ code: 'DOCKER_NO_RESOLVER' }));
  change(undefined, path('none.json'), []);
  expect(dns('none.json')).toEqual(['10.42.3.1']);
});

it('says which file it cannot read or write', () => {
  mkdirSync(path());
  expect(() => change(undefined, path())).toThrow(
    expect.objectContaining({ code: 'DOCKER_CONFIG_UNUSABLE' }),
  );
  writeFileSync(path('file'), '');
  expect(() => change(undefined, path('file/daemon.json'))).toThrow(path('file/daemon.json'));
});
