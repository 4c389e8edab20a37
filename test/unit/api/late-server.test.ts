import { createServer } from 'node:http';
import { afterEach, expect, it } from 'vitest';
import { type LoadedApp, serveLate } from '../../../src/api/late-server.ts';

const open: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

const greeter: LoadedApp = {
  handle: (request, response) => response.end(`hello ${request.url}`),
  close: () => {},
};

function resolvable<T>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

async function start(load: () => Promise<LoadedApp>) {
  const failures: unknown[] = [];
  const server = createServer();
  const { close } = serveLate(server, 64, load, (error) => failures.push(error));
  open.push(close);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return `${response.status} ${await response.text()}`;
  };
  return { server, get, failures, close };
}

it('loads nothing before it is asked, and once for all that ask meanwhile', async () => {
  let loads = 0;
  const loaded = resolvable<LoadedApp>();
  const { server, get } = await start(() => {
    loads++;
    return loaded.promise;
  });
  expect(loads).toBe(0);
  const allAsked = resolvable<void>();
  let asked = 0;
  server.on('request', () => ++asked === 3 && allAsked.resolve(undefined));
  const answers = [get('/a'), get('/b'), get('/c')];
  await allAsked.promise;
  loaded.resolve(greeter);
  expect(await Promise.all(answers)).toEqual(['200 hello /a', '200 hello /b', '200 hello /c']);
  expect(await get('/d')).toBe('200 hello /d');
  expect(loads).toBe(1);
});

it('says that it cannot load, and tries again with the next request', async () => {
  let isBroken = true;
  const { get, failures } = await start(async () => {
    if (isBroken) throw new Error('the file is gone');
    return greeter;
  });
  expect(await get('/a')).toMatch(/^500 .*"code":"INTERNAL".*installed anew under an agent that runs/);
  expect(failures).toEqual([expect.objectContaining({ message: 'the file is gone' })]);
  isBroken = false;
  expect(await get('/b')).toBe('200 hello /b');
});

it('bounds connections and the time that a request may take', async () => {
  const { server } = await start(async () => greeter);
  expect(server.maxConnections).toBe(64);
  expect(server.requestTimeout).toBe(10_000);
  expect(server.headersTimeout).toBe(10_000);
});

it('closes while a request waits for it to load', async () => {
  const asked = resolvable<void>();
  const loaded = resolvable<LoadedApp>();
  const { get, close } = await start(() => {
    asked.resolve(undefined);
    return loaded.promise;
  });
  const answer = get('/a').catch(() => 'cut off');
  await asked.promise;
  await close();
  open.pop();
  loaded.resolve(greeter);
  expect(await answer).toBe('cut off');
});
