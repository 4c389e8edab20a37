/**
 * The web page in a real browser, of a real agent: every view, by mouse, keyboard and to a screen reader, light, dark and on a
 * phone; a node that dies and an agent that is started anew while somebody looks. The browser stands in the node's network
 * namespace, whose loopback address the page is on. With WARREN_SCREENSHOTS=FOLDER it leaves the pictures of docs/web-page.md.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PageAccess } from '../../src/api/page-access.ts';
import { startTcpApi, type TcpApi } from '../../src/api/tcp.ts';
import { argvInNetns } from '../../src/host/command.ts';
import { startCommand } from '../../src/lab/command.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { silentLogger } from '../../src/log/logger.ts';
import { openBrowser, PageWatch, type RealBrowser } from '../helpers/browser.ts';
import { LargeModel } from '../helpers/large-model.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'labpage';
const LIMIT_MS = 15_000;
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SCREENSHOTS = process.env.WARREN_SCREENSHOTS;
/** One rule may be broken in each of many lines. */
const MAX_FINDINGS = 4;
const DESK = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
/** A frame's script, mean: at 60 frames a second a frame has 16.7 ms, and other work wants some of them. */
const FRAME_BUDGET_MS = 12;

async function show(page: Page, route: string, text: string | RegExp): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(`#/${route}`)}`);
  await page.locator('main').getByText(text).first().waitFor({ timeout: LIMIT_MS });
}

/** What axe-core finds, as text; it looks at WCAG 2.2 A and AA, and its own best practices. */
async function findings(page: Page): Promise<string[]> {
  await page.evaluate(`typeof axe === 'undefined' && (${JSON.stringify(AXE)}, eval(${JSON.stringify(AXE)}))`);
  return (await page.evaluate(
    `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ target, any, all }) =>
      id + ' ' + target.join(' ') + ' ' + [...any, ...all].map(({ message }) => message).join('; '))).slice(0, MOST))`.replace(
      'MOST',
      String(MAX_FINDINGS),
    ),
  )) as string[];
}

async function shoot(page: Page, name: string): Promise<void> {
  if (SCREENSHOTS === undefined) return;
  // For what is on its way on the map.
  await page.waitForTimeout(600);
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}

describeUnless(lacking('root', 'ip', 'nsenter', 'chromium'), 'the web page of an agent', () => {
  let lab: Lab;
  let a: LabNode;
  let b: LabNode;
  let browser: RealBrowser;
  let page: Page;
  let watch: PageWatch;
  let link: string;
  const traffic: ChildProcess[] = [];

  const ids: Record<string, string> = {};
  const routes = () =>
    [
      ['map', 'encrypted'],
      ['traffic', 'To peers'],
      ['drops', 'outbound-no-route'],
      ['leases', '10.42.0.0/16'],
      ['events', 'joined the cluster'],
      [`node/${ids[a.name]}`, 'To and from all peers'],
      [`node/${ids[b.name]}`, 'tunnel endpoint'],
      [`peer/${ids[b.name]}`, 'keys in use for'],
      [`pod/${b.name}/pod-1`, 'reached by way of'],
    ] as const;

  beforeAll(async () => {
    lab = await Lab.up({ name: NAME, nodes: 3, pods: 2 });
    [a, b] = lab.nodes as [LabNode, LabNode, LabNode];
    const pods = await b.client().pods();
    const from = (await lab.pod(a.name, 'pod-1')).netns;
    // To a pod, and to an address of the range that nobody has.
    for (const [target, interval] of [
      [pods[0]!.addresses[0]!, '0.01'],
      ['10.42.255.254', '0.5'],
    ]) {
      const argv = ['ping', '-q', '-s', '1200', '-i', interval!, target!];
      traffic.push(startCommand(argvInNetns(from, argv), { stdio: 'ignore' }));
    }
    const { node } = await a.client().status();
    ids[node.name] = node.id;
    for (const { name, id } of await a.client().peers()) ids[name] = id;
    const { url, token } = await a.client().page();
    link = `${url}#token=${token}`;
    browser = await openBrowser(a.netns);
    page = await browser.browser.newPage({ viewport: DESK, colorScheme: 'light' });
    watch = new PageWatch(page);
  });
  afterAll(async () => {
    for (const child of traffic) child.kill('SIGKILL');
    await browser?.close();
    await Lab.remove(NAME);
  });

  test('shows every view, with names, and has nothing that a screen reader or an eye would miss', async () => {
    await page.goto(link);
    await expect.poll(() => page.url(), { timeout: LIMIT_MS }).not.toContain('token');
    for (const scheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      // What has other colours in the dark is in these.
      const some = scheme === 'light' ? routes() : routes().filter((_, i) => [0, 1, 3, 5].includes(i));
      for (const [route, text] of some) {
        await show(page, route, text);
        expect({ route, scheme, found: await findings(page) }).toEqual({ route, scheme, found: [] });
      }
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await show(page, 'map', b.name);
    // Pings of 1,200 bytes, up to 100 a second.
    await expect
      .poll(() => page.locator('main tr', { hasText: b.name }).textContent(), { timeout: LIMIT_MS })
      .toMatch(/[1-9]\d+ kB\/s/);
    await show(page, 'leases', '3 taken');
    await show(page, `pod/${b.name}/pod-1`, '10.42.');
    expect(watch.errors).toEqual([]);
    expect([...watch.hosts]).toEqual([new URL(link).host]);
  });

  test('finds a pod by keyboard alone', async () => {
    await show(page, 'events', 'joined');
    await page.keyboard.press('/');
    await page.keyboard.type(`pod-2 `);
    await page.getByRole('option').first().waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Pod pod-2' }).waitFor({ timeout: LIMIT_MS });
    // The map takes keys too, and its table leads to the nodes.
    await show(page, 'map', b.name);
    await page.getByRole('application').focus();
    const frames = () => page.locator('canvas').getAttribute('data-frames');
    const before = await frames();
    for (const key of ['ArrowLeft', '+', '-', '0']) await page.keyboard.press(key);
    await expect.poll(frames, { timeout: LIMIT_MS }).not.toBe(before);
    await page.getByRole('link', { name: b.name }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: b.name }).first().waitFor();
  });

  test('fits a phone', async () => {
    await page.setViewportSize(PHONE);
    for (const [route, text] of routes()) {
      await show(page, route, text);
      const wide = await page.evaluate('document.documentElement.scrollWidth');
      expect({ route, wide }).toEqual({ route, wide: PHONE.width });
    }
    await page.setViewportSize(DESK);
  });

  test('has no name in it without a token', async () => {
    const other = await browser.browser.newPage({ viewport: DESK });
    await other.goto(link.split('#')[0]!);
    await other.getByText('Names are hidden').waitFor({ timeout: LIMIT_MS });
    for (const view of ['map', 'traffic', 'leases', 'events']) {
      await other.evaluate(`location.hash = '#/${view}'`);
      await other.locator('h1').first().waitFor();
      const text = await other.locator('body').textContent();
      for (const { name } of lab.nodes) expect(text).not.toContain(name);
      // Not as the beginning of a pseudonym.
      expect(text).not.toMatch(/pod-1(?![0-9a-f])/);
    }
    expect(await findings(other)).toEqual([]);
    await other.close();
  });

  test('tells of a node that dies while somebody looks', async () => {
    await show(page, 'map', b.name);
    const row = page.locator('main tr', { hasText: b.name });
    await b.kill('SIGKILL');
    await expect.poll(() => row.textContent(), { timeout: LIMIT_MS }).toContain('dead');
    await shoot(page, 'death');
    await show(page, 'events', 'is dead');
    expect(await findings(page)).toEqual([]);
  });

  test('says that the agent is gone, and goes on by itself when it is back', async () => {
    await a.kill('SIGTERM');
    const state = page.locator('output.link');
    await expect.poll(() => state.textContent(), { timeout: LIMIT_MS }).toContain('not connected');
    // What was last known stays to be seen.
    expect(await page.locator('main').textContent()).toContain('is dead');
    a.start();
    await expect.poll(() => state.textContent(), { timeout: LIMIT_MS }).toBe('live');
    // The link was the other agent's.
    await page.getByText('Names are hidden').waitFor({ timeout: LIMIT_MS });
    const { token } = await a.client().page();
    await page.evaluate(`location.hash = '#token=${token}'`);
    await page.getByText('Names are hidden').waitFor({ state: 'detached', timeout: LIMIT_MS });
    expect(watch.errors).toEqual([]);
  });
});

describeUnless(lacking('chromium', 'root'), 'the web page of a large cluster', () => {
  let api: TcpApi;
  let browser: RealBrowser;
  let page: Page;
  let ticking: NodeJS.Timeout;

  beforeAll(async () => {
    const access = new PageAccess({
      listen: { host: '127.0.0.1', port: 1 },
      tls: undefined,
      token: undefined,
    });
    const model = new LargeModel({ nodes: 200, pods: 2000 });
    ticking = setInterval(() => model.tick(), 1000);
    const listen = { host: '127.0.0.1', port: 0 };
    api = await startTcpApi({ listen, page: access, model, links: () => model.links(), log: silentLogger });
    browser = await openBrowser();
    page = await browser.browser.newPage({ viewport: DESK, colorScheme: 'light' });
    await page.goto(`http://127.0.0.1:${api.port}/ui/#token=${access.report().token}`);
    await page.getByText('2,000 pods').waitFor({ timeout: LIMIT_MS });
  });
  afterAll(async () => {
    clearInterval(ticking);
    await browser?.close();
    await api?.close();
  });

  test('has 200 nodes and 2,000 pods on its map, and a frame’s script is short', async () => {
    const canvas = page.locator('canvas');
    const read = async (name: string) => Number(await canvas.getAttribute(`data-${name}`));
    await page.getByRole('application').focus();
    const first = await read('frames');
    // A picture for each key.
    await page.evaluate(`(async () => {
      const map = document.querySelector('[role=application]');
      for (let i = 0; i < 130; i++) {
        const key = ['ArrowLeft', '+', 'ArrowRight', '-'][i % 4];
        map.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));
        await new Promise(requestAnimationFrame);
      }
    })()`);
    expect(await read('frames')).toBeGreaterThan(first + 120);
    const [mean, most] = [await read('frame-ms'), await read('frame-most-ms')];
    console.log(`script of a frame of the map, 200 nodes and 2,000 pods: mean ${mean} ms, most ${most} ms`);
    expect(mean).toBeLessThan(FRAME_BUDGET_MS);
    await page.keyboard.press('0');
    await shoot(page, 'map-200');
  });

  test('has nothing to find for axe, with all that there can be in it', async () => {
    for (const [route, text] of [
      ['leases', '2 nodes in conflict'],
      ['events', 'offload'],
    ] as const) {
      await show(page, route, text);
      expect({ route, found: await findings(page) }).toEqual({ route, found: [] });
    }
  });
});

describe.skipIf(SCREENSHOTS === undefined || lacking('chromium') !== undefined)(
  'the pictures of docs/web-page.md',
  () => {
    test('are of a cluster with something of everything', async () => {
      const access = new PageAccess({
        listen: { host: '127.0.0.1', port: 1 },
        tls: undefined,
        token: undefined,
      });
      const model = new LargeModel({ nodes: 24, pods: 150 });
      const ticking = setInterval(() => model.tick(), 1000);
      const listen = { host: '127.0.0.1', port: 0 };
      const api = await startTcpApi({
        listen,
        page: access,
        model,
        links: () => model.links(),
        log: silentLogger,
      });
      const { browser, close } = await openBrowser();
      const page = await browser.newPage({ viewport: { width: 1160, height: 700 }, colorScheme: 'light' });
      await page.goto(`http://127.0.0.1:${api.port}/ui/#token=${access.report().token}`);
      await page.getByText('150 pods').waitFor();
      await page.waitForTimeout(3000);
      await shoot(page, 'map-light');
      for (const [route, shot] of [
        ['traffic', 'traffic'],
        ['drops', 'drops'],
        ['leases', 'leases'],
        ['events', 'events'],
        [`node/${'0001'.repeat(8)}`, 'node'],
      ] as const) {
        await show(page, route, /./);
        await shoot(page, shot);
      }
      await page.emulateMedia({ colorScheme: 'dark' });
      await show(page, 'map', 'node-001');
      await shoot(page, 'map-dark');
      await page.setViewportSize(PHONE);
      await shoot(page, 'phone');
      clearInterval(ticking);
      await close();
      await api.close();
    });
  },
);
