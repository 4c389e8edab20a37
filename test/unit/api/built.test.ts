/** The API as it is built: fastify without the modules that scripts/build.mjs leaves out. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type * as Apps from '../../../src/api/apps.ts';
import { AgentClient } from '../../../src/api/client.ts';
import { serveLate } from '../../../src/api/late-server.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { builtFile, packageFile } from '../../../src/package.ts';
import { FakeAgent, fakeStatus } from '../../helpers/fake-agent.ts';

const built = builtFile('api/apps');
const isBuilt = existsSync(built);

describe.skipIf(!isBuilt)(`the built API${isBuilt ? '' : ' (skipped: needs npm run build)'}`, () => {
  let folder: string;
  let close: () => Promise<void>;
  let client: AgentClient;
  let agent: FakeAgent;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'warren-built-test-'));
    const path = join(folder, 'agent.sock');
    agent = new FakeAgent();
    const server = createServer();
    const load = async () => {
      const { controlApp } = (await import(built)) as typeof Apps;
      return controlApp({ server, model: agent, commands: agent, log: silentLogger });
    };
    ({ close } = serveLate(server, 64, load, (error) => expect.fail(String(error))));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    client = new AgentClient(path);
  });
  afterEach(async () => {
    await close();
    rmSync(folder, { recursive: true });
  });

  it('answers questions, commands, wrong ones too, and streams', async () => {
    expect(await client.status()).toEqual(fakeStatus);
    expect(await client.addPod('db')).toMatchObject({ name: 'db' });
    expect(await client.removePod('db')).toMatchObject({ name: 'db' });
    await expect(client.changeKeys({ action: 'sell' } as never)).rejects.toMatchObject({
      code: 'BAD_REQUEST',
    });
    await expect(client.addPod('x'.repeat(70_000))).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' });
    const signal = new AbortController().signal;
    const first = await client.watch('pods', { intervalSeconds: 1, signal }).next();
    expect(first.value).toEqual(agent.podReports);
  });

  it('has none of what it does not use', () => {
    const text = readFileSync(built, 'utf8');
    // Text that survives minifying: of ajv, fast-json-stringify, light-my-request, proxy-addr and semver.
    for (const word of [
      'strictSchema',
      'largeArrayMechanism',
      'dispatchFunc should be a function',
      'trust argument is required',
      'Invalid SemVer',
    ]) {
      expect(text).not.toContain(word);
    }
    expect(text.length).toBeLessThan(400_000);
  });
});

const pageFolder = packageFile('dist/ui');

describe.skipIf(!existsSync(pageFolder))('the built web page', () => {
  const files = () => readdirSync(pageFolder, { recursive: true, encoding: 'utf8' });

  it('has 200 KB at most, compressed', () => {
    const compressed = files().filter((name) => name.endsWith('.gz'));
    const bytes = compressed.reduce((sum, name) => sum + statSync(join(pageFolder, name)).size, 0);
    expect(compressed.length).toBeGreaterThan(2);
    expect(bytes).toBeLessThan(200_000);
  });

  it('has nothing inline, and takes nothing from elsewhere', () => {
    const html = readFileSync(join(pageFolder, 'index.html'), 'utf8');
    expect(html).not.toMatch(/<style|style=|<script(?![^>]* src=)|\son\w+=/);
    const addresses = files()
      .filter((name) => /\.(html|js|css)$/.test(name))
      .flatMap((name) => readFileSync(join(pageFolder, name), 'utf8').match(/https?:\/\/[\w.-]+/g) ?? []);
    // Names of vocabularies, which nobody fetches.
    expect(addresses.filter((address) => address !== 'http://www.w3.org')).toEqual([]);
  });
});
