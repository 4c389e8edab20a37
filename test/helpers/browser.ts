/** A real browser, Debian's Chromium, that looks out of any network namespace. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';

export interface RealBrowser {
  readonly browser: Browser;
  close(): Promise<void>;
}

/** `netns`: path of the namespace whose loopback address it is to reach; default: this process's own. */
export async function openBrowser(netns?: string): Promise<RealBrowser> {
  const folder = mkdtempSync(join(tmpdir(), 'warren-browser-'));
  const program = join(folder, 'chromium');
  const enter = netns === undefined ? '' : `nsenter --net=${netns} `;
  writeFileSync(program, `#!/bin/sh\nexec ${enter}chromium "$@"\n`);
  chmodSync(program, 0o755);
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  try {
    const browser = await chromium.launch({
      executablePath: program,
      // As root there is no sandbox, and in a box of its own none is needed: it loads our page alone.
      args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
      env: { ...process.env, HOME: folder, XDG_CONFIG_HOME: folder, XDG_CACHE_HOME: folder },
    });
    return {
      browser,
      close: async () => {
        await browser.close();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

/** What a page asked for, and what went wrong in it. */
export class PageWatch {
  readonly hosts = new Set<string>();
  readonly errors: string[] = [];

  constructor(page: Page) {
    page.on('request', (request) => this.hosts.add(new URL(request.url()).host));
    page.on('pageerror', (error) => this.errors.push(error.message));
    page.on('console', (message) => {
      // That the agent does not answer is what some tests are about.
      if (message.type() === 'error' && !/ERR_|Failed to load/.test(message.text()))
        this.errors.push(message.text());
    });
  }
}
