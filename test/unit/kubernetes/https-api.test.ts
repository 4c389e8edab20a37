/** The way to an API server that is there: over HTTPS on the loopback address, with a kubeconfig. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { realClock } from '../../../src/clock.ts';
import type { Answer, KubernetesApi } from '../../../src/kubernetes/api.ts';
import { httpsApi } from '../../../src/kubernetes/https-api.ts';
import { NodeWatch } from '../../../src/kubernetes/node-watch.ts';
import { NodesView } from '../../../src/kubernetes/nodes-view.ts';
import { FakeApiServer } from '../../helpers/kubernetes-api.ts';
import { KubernetesServer } from '../../helpers/kubernetes-server.ts';

const folder = mkdtempSync(join(tmpdir(), 'warren-kubernetes-'));
const kubeconfig = join(folder, 'kubeconfig');
let tls: { cert: Buffer; key: Buffer };
let model: FakeApiServer;
let server: KubernetesServer;
let api: KubernetesApi;

beforeAll(() => {
  const [cert, key] = [join(folder, 'ca.pem'), join(folder, 'key.pem')];
  const names = 'subjectAltName=IP:127.0.0.1';
  execFileSync(
    'openssl',
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test -addext ${names} -keyout ${key} -out ${cert}`.split(
      ' ',
    ),
    { stdio: 'pipe' },
  );
  tls = { cert: readFileSync(cert), key: readFileSync(key) };
});

afterAll(() => rmSync(folder, { recursive: true }));

beforeEach(async () => {
  model = new FakeApiServer();
  for (let i = 0; i < 300; i++)
    model.put(`node-${i}`, { addresses: ['192.0.2.1'], podCidrs: [`10.${i >> 8}.${i & 255}.0/24`] });
  server = new KubernetesServer(model, tls);
  const url = await server.listen();
  writeFileSync(join(folder, 'token'), 'first-token');
  writeFileSync(
    kubeconfig,
    `apiVersion: v1
kind: Config
current-context: test
clusters: [{name: test, cluster: {server: "${url}/", certificate-authority: ca.pem}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
users: [{name: test, user: {auth-provider: {name: tokenFile, config: {tokenFile: ${folder}/token}}}}]
`,
  );
  api = httpsApi(kubeconfig);
  return async () => {
    api.close();
    await server.close();
  };
});

function ask(path: string, method: 'GET' | 'PATCH' = 'GET', body?: object): Promise<Answer> {
  return new Promise((resolve) => api.ask({ method, path, ...(body && { body }) }, resolve));
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 500) throw new Error('it does not come');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('the way to an API server', () => {
  it('asks with a token, takes what is answered, and says how long to wait', async () => {
    expect(api.server).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
    expect(await ask('/api/v1/nodes/node-7')).toMatchObject({
      status: 200,
      body: { metadata: { name: 'node-7' } },
    });
    expect(server.requests[0]!.headers).toMatchObject({
      authorization: 'Bearer first-token',
      accept: 'application/json',
      'user-agent': expect.stringMatching(/^warren\//),
    });
    expect(await ask('/api/v1/nodes/none')).toMatchObject({ status: 404 });
    model.fault = () => ({ status: 429, body: undefined, retryAfterMs: 7000 });
    expect(await ask('/api/v1/nodes')).toEqual({ status: 429, body: undefined, retryAfterMs: 7000 });
    model.fault = () => ({ error: 'gone' });
    expect(await ask('/api/v1/nodes')).toEqual({ error: 'socket hang up' });
    model.fault = () => undefined;
    const body = { status: { conditions: [{ type: 'NetworkUnavailable', status: 'False', reason: 'Up' }] } };
    expect(await ask('/api/v1/nodes/node-7/status', 'PATCH', body)).toMatchObject({ status: 200 });
    // One connection for all that is asked one after the other, but for the one that broke off.
    expect(server.connections).toBe(2);
    expect(server.requests.at(-1)!.headers['content-type']).toBe('application/strategic-merge-patch+json');
    expect(model.nodes.get('node-7')!.status.conditions).toContainEqual(body.status.conditions[0]);
  });

  it('has connections for all that is watched, and for what is asked besides', async () => {
    const kinds = [
      '/api/v1/nodes',
      '/api/v1/pods',
      '/api/v1/namespaces',
      '/apis/networking.k8s.io/v1/networkpolicies',
    ];
    const ignored = { line: () => {}, end: () => {} };
    const watches = kinds.map((path) => api.watch(`${path}?watch=true&resourceVersion=5000`, ignored));
    await until(() => model.watches.size === kinds.length);
    expect(await Promise.all([ask('/api/v1/nodes/node-1'), ask('/api/v1/nodes/node-2')])).toMatchObject([
      { status: 200 },
      { status: 200 },
    ]);
    for (const watch of watches) watch.cancel();
  });

  it('trusts who the kubeconfig names, and sends the token that is in the file now', async () => {
    expect(await ask('/api/v1/nodes/node-1')).toMatchObject({ status: 200 });
    const trusting = readFileSync(kubeconfig, 'utf8');
    writeFileSync(kubeconfig, trusting.replace('certificate-authority: ca.pem', ''));
    api.close();
    writeFileSync(join(folder, 'token'), 'second-token\n');
    api = httpsApi(kubeconfig);
    expect(await ask('/api/v1/nodes/node-1')).toEqual({
      error: expect.stringMatching(/self.signed certificate/),
    });
    writeFileSync(kubeconfig, trusting);
    api = httpsApi(kubeconfig);
    expect(await ask('/api/v1/nodes/node-1')).toMatchObject({ status: 200 });
    expect(server.requests.at(-1)!.headers.authorization).toBe('Bearer second-token');
    rmSync(join(folder, 'ca.pem'));
    expect(await ask('/api/v1/nodes/node-1')).toEqual({ error: expect.stringContaining('ENOENT') });
    writeFileSync(join(folder, 'ca.pem'), tls.cert);
    expect(await ask('/api/v1/nodes/node-1')).toMatchObject({ status: 200 });
  });

  it('bounds what is answered, and hears nothing of what it has given up', async () => {
    model.fault = () => ({ status: 200, body: { items: 'x'.repeat(65 * 1024 * 1024) } });
    expect(await ask('/api/v1/nodes')).toEqual({ error: 'the answer is longer than 67108864 bytes' });
    model.fault = () => undefined;
    let heard = 0;
    const pending = api.ask({ method: 'GET', path: '/api/v1/nodes' }, () => heard++);
    pending.cancel();
    const watch = api.watch('/api/v1/nodes?watch=true&resourceVersion=1000', {
      line: () => heard++,
      end: () => heard++,
    });
    await until(() => heard > 0);
    const before = heard;
    watch.cancel();
    await until(() => model.watches.size === 0);
    expect(heard).toBe(before);
  });

  it('lists, watches, and goes on where it was when the server is back', async () => {
    const view = new NodesView();
    const troubles: string[] = [];
    const watch = new NodeWatch({
      ...{ api, ownName: 'node-0', clock: realClock, random: () => 0, nodeCount: () => 0 },
      onEvent: (event) => view.apply(event),
      onContact: () => {},
      onTrouble: (reason) => troubles.push(reason),
    });
    watch.start();
    await until(() => model.watches.size === 1);
    expect(view.size).toBe(300);
    model.put('late');
    await until(() => view.node('late') !== undefined);
    const port = Number(new URL(api.server).port);
    await server.close();
    await until(() => troubles.length > 1);
    model.put('later');
    const again = new KubernetesServer(model, tls);
    await again.listen(port);
    await until(() => view.node('later') !== undefined);
    expect(model.counts).toMatchObject({ lists: 1, pages: 2, watches: 2 });
    // Its place is gone: told within the watch.
    model.put('latest');
    model.compact();
    model.endWatches({ error: 'broken off' });
    model.delete('node-5');
    model.compact();
    await until(() => view.node('node-5') === undefined);
    expect(model.counts).toMatchObject({ lists: 2 });
    watch.stop();
    await until(() => model.watches.size === 0);
    await again.close();
  });

  it('is told of in one sentence where it cannot be found', () => {
    expect(() => httpsApi(join(folder, 'none'))).toThrow(
      /^cannot tell how to reach the Kubernetes API \(.*none\): ENOENT/,
    );
    writeFileSync(kubeconfig, 'apiVersion: v1\nkind: Config\n');
    expect(() => httpsApi(kubeconfig)).toThrow('its current context names no cluster');
    expect(() => httpsApi(undefined)).toThrow('KUBERNETES_SERVICE_HOST is not set: this is no pod');
  });
});
