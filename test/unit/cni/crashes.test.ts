/**
 * The agent dies at every step of an ADD and of a DEL, and the runtime does what runtimes do then: it deletes, or it is
 * gone too and its namespace with it, or it collects garbage. Nothing may be left of the container, whatever comes.
 */
import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { CniHost, NETNS } from '../../helpers/cni-host.ts';

const hosts: CniHost[] = [];

afterEach(async () => {
  for (const host of hosts.splice(0)) await host.remove();
});

/** A host whose machine does no more step once `left` is used up. */
function crashingHost(): {
  host: CniHost;
  dieAfter: (steps: number) => void;
  revive: () => void;
  isDead: () => boolean;
} {
  let left: number | undefined;
  const host = new CniHost(async () => {
    if (left === undefined) return;
    if (left === 0) throw new Error('dead');
    left--;
  });
  hosts.push(host);
  return {
    host,
    dieAfter: (steps) => (left = steps),
    revive: () => (left = undefined),
    isDead: () => left === 0,
  };
}

const KEY = { network: 'warren', containerId: 'c1', interfaceName: 'eth0' };

/** What the runtime does after the crash. */
const AFTERWARDS: Readonly<Record<string, (host: CniHost) => Promise<void>>> = {
  'the runtime deletes while the agent is away': async (host) => {
    expect(await host.call('DEL')).toMatchObject({ exitCode: 0 });
    await host.start();
    await host.clock.run(1000);
  },
  'the runtime deletes when the agent is back': async (host) => {
    await host.start();
    await host.attachments.restore();
    expect(await host.call('DEL')).toMatchObject({ exitCode: 0 });
    expect(await host.call('DEL', { env: { CNI_NETNS: undefined } })).toMatchObject({ exitCode: 0 });
  },
  'the runtime collects garbage': async (host) => {
    await host.start();
    await host.attachments.restore();
    expect(await host.call('GC', { config: { 'cni.dev/valid-attachments': [] } })).toMatchObject({
      exitCode: 0,
    });
  },
  'the runtime is gone too, and its namespace': async (host) => {
    host.memory.network.loseNamespace(NETNS);
    await host.start();
    await host.attachments.restore();
    await host.clock.run(25_000);
  },
  'the runtime tries again, and deletes then': async (host) => {
    await host.start();
    await host.attachments.restore();
    expect(await host.call('ADD')).toMatchObject({ exitCode: 0 });
    expect(host.memory.network.pairs.size).toBe(1);
    expect(await host.call('DEL')).toMatchObject({ exitCode: 0 });
  },
};

describe.each(Object.entries(AFTERWARDS))('an agent that dies in the middle, and %s', (_what, afterwards) => {
  it.each(['ADD', 'DEL'])('leaves nothing of an %s', async (command) => {
    for (let steps = 0; ; steps++) {
      const { host, dieAfter, revive, isDead } = crashingHost();
      await host.start();
      // So that there is a folder for deletions, as on any node that ever had a container.
      await host.service.add({ ...KEY, netns: NETNS, queue: host.queue });
      if (command === 'ADD') await host.service.delete(KEY);
      dieAfter(steps);
      const work =
        command === 'ADD'
          ? host.service.add({ ...KEY, netns: NETNS, queue: host.queue })
          : host.service.delete(KEY);
      await work.catch(() => {});
      const hasDied = isDead();
      await host.stop();
      revive();
      await afterwards(host);
      expect(host.left(), `${command}, dead after ${steps} steps`).toEqual([]);
      expect(readdirSync(host.queue)).toEqual([]);
      expect(host.memory.violations).toEqual([]);
      if (!hasDied) return;
    }
  });
});
