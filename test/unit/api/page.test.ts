/** The web page's side of the agent: who may look, under which names of the host, and that nothing can be changed. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type ClientRequest, type RequestOptions, request } from 'node:http';
import { request as secureRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PageAccess, readTlsFiles, readTokenFile, type TlsFiles } from '../../../src/api/page-access.ts';
import { PageFiles } from '../../../src/api/page-files.ts';
import { startTcpApi, type TcpApi } from '../../../src/api/tcp.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { FakeAgent } from '../../helpers/fake-agent.ts';

const TOKEN = 'correct-horse-battery-staple';
let folder: string;
const open: TcpApi[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-page-test-'));
});
afterEach(async () => {
  for (const api of open.splice(0)) await api.close();
  rmSync(folder, { recursive: true });
});

/** A certificate for `overlay.example` and 192.0.2.1. */
function certificate(): TlsFiles {
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const names = 'subjectAltName=DNS:overlay.example,IP:192.0.2.1';
  const args = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '2',
  ];
  execFileSync(
    'openssl',
    [...args, '-subj', '/CN=warren', '-addext', names, '-keyout', keyFile, '-out', certFile],
    {
      stdio: 'ignore',
    },
  );
  return readTlsFiles({ certFile, keyFile });
}

async function start(options: { host?: string; tls?: TlsFiles; token?: string; isAuto?: boolean } = {}) {
  const { host = '127.0.0.1', tls, token, isAuto } = options;
  const page = new PageAccess({ listen: { host, port: 7947 }, tls, token });
  const agent = new FakeAgent();
  agent.linkReports = [{ from: 'a', to: 'b', outboundBytes: 1, isSealed: true }];
  const api = await startTcpApi({
    listen: { host, port: 0 },
    page,
    tls,
    ...(isAuto !== undefined && { isAuto }),
    model: agent,
    links: () => agent.links(),
    log: silentLogger,
  });
  open.push(api);
  return { page, port: api.port, isSecure: tls !== undefined };
}

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
}

function ask(
  { port, isSecure }: { port: number; isSecure: boolean },
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options: RequestOptions = { host: '127.0.0.1', port, path, headers, method, agent: false };
    const ask = isSecure ? secureRequest({ ...options, rejectUnauthorized: false }) : request(options);
    ask.on('error', reject).on('response', async (response) => {
      let text = '';
      for await (const chunk of response) {
        text += chunk;
        if (response.headers['content-type'] === 'text/event-stream' && text.includes('\n\n')) break;
      }
      resolve({ status: response.statusCode!, headers: response.headers, text });
    });
    ask.end();
  });
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('the Host header', () => {
  const onLoopback = new PageAccess({
    listen: { host: '127.0.0.1', port: 7947 },
    tls: undefined,
    token: undefined,
  });

  it.each([
    'localhost',
    'localhost:7947',
    '127.0.0.1:7947',
    '127.0.0.1:1234',
    'LOCALHOST.:80',
    '[::1]:7947',
    '127.9.9.9',
  ])('%s is this host', (host) => expect(onLoopback.isOwnHost(host)).toBe(true));

  it.each([
    undefined,
    '',
    'evil.example',
    'evil.example:7947',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil.example@127.0.0.1',
    '127.0.0.1:7947/evil',
    '192.0.2.1:7947',
    '[::2]:7947',
    '0.0.0.0:7947',
    '1270.0.1',
    '127.0.0.1:port',
    'localhost localhost',
  ])('%s is not', (host) => expect(onLoopback.isOwnHost(host)).toBe(false));

  it('may be a name of the certificate where TLS is', () => {
    const access = new PageAccess({ listen: { host: '0.0.0.0', port: 1 }, tls: certificate(), token: TOKEN });
    expect(access.isOwnHost('overlay.example:1')).toBe(true);
    expect(access.isOwnHost('192.0.2.1:1')).toBe(true);
    expect(access.isOwnHost('other.example')).toBe(false);
    expect(access.isOwnHost('192.0.2.2')).toBe(false);
  });

  it('of somebody else gets nothing, not even with the token', async () => {
    const server = await start({ token: TOKEN });
    for (const path of ['/ui/', '/ui/api/session', '/ui/api/history', '/ui/api/watch?topics=status']) {
      const { status, text } = await ask(server, path, { host: 'evil.example', ...bearer(TOKEN) });
      expect({ path, status }).toEqual({ path, status: 403 });
      expect(JSON.parse(text)).toMatchObject({ code: 'HOST_REFUSED' });
    }
  });
});

describe('the web page on the loopback address', () => {
  it('is there without names, and with them for a token', async () => {
    const server = await start({ token: TOKEN });
    const topics = '/ui/api/watch?topics=peers';
    expect((await ask(server, '/ui/api/session')).text).toBe('{"names":false}\n');
    expect((await ask(server, topics)).text).not.toContain('"node-b"');
    expect((await ask(server, '/ui/api/history')).text).not.toContain('"node-b"');
    const own = server.page.report().token!;
    for (const token of [TOKEN, own]) {
      expect((await ask(server, '/ui/api/session', bearer(token))).text).toBe('{"names":true}\n');
      expect((await ask(server, topics, bearer(token))).text).toContain('"node-b"');
      expect((await ask(server, '/ui/api/history?after=0', bearer(token))).text).toContain('"node-b"');
    }
  });

  it('asks the other nodes for nobody without a token', async () => {
    const server = await start({ token: TOKEN });
    expect((await ask(server, '/ui/api/links')).text).toBe('[]\n');
    expect((await ask(server, '/ui/api/links', bearer(TOKEN))).text).toContain('"from":"a"');
  });

  it('has eight streams at most for all who come without a token, and others beside them', async () => {
    const server = await start({ token: TOKEN });
    const path = '/ui/api/watch?topics=status&interval=0.5';
    const open: ClientRequest[] = [];
    try {
      for (let i = 0; i < 8; i++) {
        const stream = request({ host: '127.0.0.1', port: server.port, path, agent: false });
        open.push(stream.end());
        await once(stream, 'response');
      }
      expect((await ask(server, path)).status).toBe(503);
      expect((await ask(server, path, bearer(TOKEN))).status).toBe(200);
    } finally {
      for (const stream of open) stream.destroy();
    }
  });

  it('refuses a token that is not one', async () => {
    const server = await start();
    for (const headers of [bearer('guess'), bearer(''), { authorization: 'Basic abc' }]) {
      const { status, text } = await ask(server, '/ui/api/session', headers);
      expect(status).toBe(401);
      expect(JSON.parse(text)).toMatchObject({ code: 'TOKEN_WRONG' });
    }
  });

  it('is for reading: no method changes anything, and no topic is there that is the host’s own', async () => {
    const server = await start();
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      expect((await ask(server, '/ui/api/session', {}, method)).status).toBeGreaterThanOrEqual(404);
    }
    expect((await ask(server, '/v1/pods')).status).toBe(404);
    for (const topic of ['pods', 'targets', 'routes', 'keys'])
      expect((await ask(server, `/ui/api/watch?topics=${topic}`)).status).toBe(400);
  });

  it('says in its headers that it loads nothing from elsewhere, and runs nothing inline', async () => {
    const { headers } = await ask(await start(), '/ui/api/session');
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
    expect(policy).not.toMatch(/https?:|\*|data:/);
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' });
  });

  it('has no metrics beside it where nobody has chosen the address, since they have names', async () => {
    expect((await ask(await start({ isAuto: true }), '/metrics')).status).toBe(404);
    expect((await ask(await start(), '/metrics')).status).toBe(200);
    expect((await ask(await start({ isAuto: true }), '/livez')).status).toBe(200);
  });
});

describe('the web page elsewhere', () => {
  it.each([
    ['neither', {}],
    ['a token alone', { token: TOKEN }],
  ] as const)('is not there with %s, and health is', async (_what, options) => {
    const server = await start({ host: '0.0.0.0', ...options });
    expect(server.page.refusal).toMatch(/needs api.tls and api.tokenFile/);
    expect(server.page.report()).toMatchObject({ url: null, reason: server.page.refusal });
    expect((await ask(server, '/ui/')).status).toBe(404);
    expect((await ask(server, '/livez')).status).toBe(200);
  });

  it('is not there with TLS alone', () => {
    const access = new PageAccess({ listen: { host: '::', port: 1 }, tls: certificate(), token: undefined });
    expect(access.refusal).toMatch(/needs/);
  });

  it('shows nothing without the token', async () => {
    const server = await start({ host: '0.0.0.0', tls: certificate(), token: TOKEN });
    expect(server.page.refusal).toBeUndefined();
    expect(server.page.url).toMatch(/^https:/);
    for (const path of ['/ui/api/session', '/ui/api/history', '/ui/api/watch?topics=status']) {
      const { status, text } = await ask(server, path);
      expect({ path, status }).toEqual({ path, status: 401 });
      expect(JSON.parse(text)).toMatchObject({ code: 'TOKEN_NEEDED' });
      expect((await ask(server, path, bearer(TOKEN))).status).toBe(200);
    }
  });
});

describe('the files that the configuration names', () => {
  it('are refused when they are not what they must be', () => {
    const path = join(folder, 'token');
    const write = (text: string, mode = 0o600) => {
      writeFileSync(path, text);
      chmodSync(path, mode);
    };
    write(`${TOKEN}\n`);
    expect(readTokenFile(path, silentLogger)).toBe(TOKEN);
    for (const [text, mode] of [
      ['short', 0o600],
      [`${TOKEN} two words`, 0o600],
      [TOKEN, 0o666],
    ] as const) {
      write(text, mode);
      expect(() => readTokenFile(path, silentLogger)).toThrow(/^api\.tokenFile: /);
    }
    expect(() => readTokenFile(join(folder, 'none'), silentLogger)).toThrow(/ENOENT/);
    expect(() => readTlsFiles({ certFile: path, keyFile: path })).toThrow(/^api\.tls: /);
  });

  it('of TLS must belong together', async () => {
    const { cert } = certificate();
    const { key } = certificate();
    await expect(start({ tls: { cert, key } })).rejects.toMatchObject({ code: 'API_TLS_FILES' });
  });
});

describe('the files of the page', () => {
  it('are given as they are or compressed, and nothing beside them', async () => {
    const root = join(folder, 'ui');
    mkdirSync(join(root, 'assets'), { recursive: true });
    writeFileSync(join(root, 'index.html'), '<p>');
    writeFileSync(join(root, 'index.html.gz'), gzipSync('<p>'));
    writeFileSync(join(root, 'assets', 'a.js'), '1');
    writeFileSync(join(folder, 'secret.js'), '2');
    const files = new PageFiles(root);
    expect(await files.read('index.html', true)).toMatchObject({ isCompressed: true, isImmutable: false });
    expect((await files.read('index.html', false))!.bytes.toString()).toBe('<p>');
    expect(await files.read('assets/a.js', true)).toMatchObject({ isCompressed: false, isImmutable: true });
    for (const name of [
      '../secret.js',
      'assets/../../secret.js',
      '/etc/passwd',
      'assets',
      'index.html.gz',
      'none.js',
    ])
      expect(await files.read(name, true), name).toBeUndefined();
    expect(() => new PageFiles(join(folder, 'none'))).toThrow(/was not built/);
  });
});
