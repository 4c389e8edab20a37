/** `warren ui`: the link, how to get there from elsewhere, and that no token stands in a program's arguments. */
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiServer, startApiServer } from '../../../src/api/server.ts';
import { fileThatLeadsTo, forwardText, linkOf } from '../../../src/cli/commands/ui.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import type { PageReport } from '../../../src/readmodel/reports.ts';
import { cli } from '../../helpers/cli.ts';
import { FakeAgent } from '../../helpers/fake-agent.ts';

const PAGE: PageReport = { url: 'http://127.0.0.1:7947/ui/', token: 'abc' };
let folder: string;
let server: ApiServer;
let page: PageReport;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warren-ui-test-'));
  page = PAGE;
  server = await startApiServer({
    path: join(folder, 'agent.sock'),
    gid: undefined,
    model: new FakeAgent(),
    commands: undefined,
    page: () => page,
    log: silentLogger,
  });
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

describe('warren ui', () => {
  const ui = (...more: string[]) => cli(['ui', '-s', join(folder, 'agent.sock'), ...more]);

  it('prints the link, on a socket for reading too', async () => {
    const { code, stdout } = await ui('--no-open');
    expect(code).toBe(0);
    expect(stdout.split('\n')[0]).toBe('http://127.0.0.1:7947/ui/#token=abc');
    expect(JSON.parse((await ui('--json')).stdout)).toEqual(PAGE);
  });

  it('says why there is no page', async () => {
    page = { url: null, reason: 'api.listen is off' };
    const { code, stderr } = await ui();
    expect(code).toBe(1);
    expect(stderr).toContain('api.listen is off');
  });
});

it('the way from another machine is the one that the user came', () => {
  expect(linkOf({ url: 'https://h:1/ui/' })).toBe('https://h:1/ui/');
  const env = {
    SSH_CONNECTION: '192.0.2.9 5555 192.0.2.1 22',
    SUDO_USER: 'ann',
    USER: 'root',
    DISPLAY: ':10',
  };
  expect(forwardText(PAGE, env)).toBe(
    'From another machine: ssh -L 7947:127.0.0.1:7947 ann@192.0.2.1, and open the link there.',
  );
  expect(forwardText(PAGE, { DISPLAY: ':0' })).toBeUndefined();
  expect(forwardText({ url: 'https://overlay.example:7947/ui/' }, env)).toBeUndefined();
});

it('the browser is given a file that only its user can read', () => {
  const file = fileThatLeadsTo(linkOf(PAGE), {});
  try {
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(dirname(file)).mode & 0o777).toBe(0o700);
    expect(readFileSync(file, 'utf8')).toContain('url=http://127.0.0.1:7947/ui/#token=abc"');
  } finally {
    rmSync(dirname(file), { recursive: true });
  }
});
