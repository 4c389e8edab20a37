/** `api.listen: auto`: an agent does without it where the address is taken, and says so; a chosen address has to be had. */
import { createServer, type Server } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { serveTcp } from '../../../src/agent/linux-parts.ts';
import { PageAccess } from '../../../src/api/page-access.ts';
import type { Logger } from '../../../src/log/logger.ts';
import { FakeAgent } from '../../helpers/fake-agent.ts';

let other: Server;
let port: number;
let lines: string[];

beforeEach(async () => {
  lines = [];
  other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  port = (other.address() as { port: number }).port;
});
afterEach(() => new Promise((resolve) => other.close(resolve)));

function serve(options: { isAuto: boolean; host?: string; port?: number }) {
  const listen = { host: options.host ?? '127.0.0.1', port: options.port ?? port };
  const access = new PageAccess({ listen, tls: undefined, token: undefined });
  const note = (level: string) => (a: object | string, b?: string) =>
    lines.push(`${level} ${b ?? a} ${JSON.stringify(a)}`);
  const log = { info: note('info'), warn: note('warn'), error: note('error') } as unknown as Logger;
  const model = new FakeAgent();
  const links = () => model.links();
  return {
    access,
    server: serveTcp(listen, { isAuto: options.isAuto, access, tls: undefined, model, links, log }),
  };
}

it('is done without where another program listens', async () => {
  const { access, server } = serve({ isAuto: true });
  expect(await server).toBeUndefined();
  expect(lines).toEqual([expect.stringMatching(/^warn no web page: .*another program listens there/)]);
  expect(access.report()).toMatchObject({ url: null, reason: expect.stringContaining('another program') });
});

it('ends an agent that was to have it', async () => {
  await expect(serve({ isAuto: false }).server).rejects.toMatchObject({ code: 'API_LISTEN_FAILED' });
});

it('is told of in the log, and so is that there is no page', async () => {
  const free = await serve({ isAuto: true, port: 0 }).server;
  await free!.close();
  expect(lines.pop()).toMatch(/^info web page .*http:..127\.0\.0\.1:0.ui/);
  const elsewhere = await serve({ isAuto: false, host: '0.0.0.0', port: 0 }).server;
  await elsewhere!.close();
  expect(lines.pop()).toMatch(/^warn no web page: .*needs api\.tls and api\.tokenFile/);
});
