/** Who may reach whom, and that the rules follow it. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Attachment } from '../../../src/attachment/attachment.ts';
import { Isolation } from '../../../src/docker/isolation.ts';
import { type ListedAttachment, planIsolation } from '../../../src/docker/isolation-plan.ts';
import { WarrenError } from '../../../src/errors.ts';
import type { IsolatedGroup } from '../../../src/host/rules/network-isolation.ts';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

function attachment(hostInterface: string, network: string, reach?: string): Attachment {
  const labels = reach === undefined ? {} : { 'docker.reach': reach };
  return { hostInterface, name: hostInterface, network, labels } as Attachment;
}

function listed(network: string, ...texts: string[]): ListedAttachment {
  return { network, addresses: texts.map((text) => parseAddress(text)) };
}

const shown = (groups: readonly IsolatedGroup[]) =>
  groups.map(({ interfaces, reachable }) => [interfaces.join(' '), reachable.map(formatAddress).join(' ')]);

const EVERYWHERE = [
  listed('app', '10.42.1.2', 'fd42::2'),
  listed('app', '10.42.2.2'),
  listed('db', '10.42.1.3'),
  listed('', '10.42.1.4'),
];

describe('the plan', () => {
  it('lets those of one network reach each other, on all hosts, and nobody else', () => {
    const own = [attachment('a', 'app'), attachment('b', 'app'), attachment('c', 'db')];
    expect(shown(planIsolation(own, EVERYWHERE))).toEqual([
      ['a b', '10.42.1.2 fd42::2 10.42.2.2'],
      ['c', '10.42.1.3'],
    ]);
  });

  it('is extended by the networks that one names, each list in its own group', () => {
    const own = [attachment('a', 'app', 'db'), attachment('b', 'app'), attachment('c', 'none', 'db,app')];
    const groups = planIsolation(own, EVERYWHERE);
    expect(shown(groups)).toEqual([
      ['a', '10.42.1.2 fd42::2 10.42.2.2 10.42.1.3'],
      ['b', '10.42.1.2 fd42::2 10.42.2.2'],
      ['c', '10.42.1.2 fd42::2 10.42.2.2 10.42.1.3'],
    ]);
    expect(new Set(groups.map(({ key }) => key)).size).toBe(3);
    const [again] = planIsolation([attachment('x', 'none', 'app,db')], []);
    expect(again!.key).toBe(groups[2]!.key);
  });

  it('has no rules for one that may reach all, and refuses all for one whose network nobody lists', () => {
    expect(shown(planIsolation([attachment('a', 'app', '*'), attachment('b', 'new')], EVERYWHERE))).toEqual([
      ['b', ''],
    ]);
  });

  it('adds what was left of a group, each address once', () => {
    const own = [attachment('a', 'app')];
    const [{ key }] = planIsolation(own, []) as [IsolatedGroup];
    const left = new Map([
      [key, ['10.42.1.2', '10.42.9.9']],
      ['other', ['10.42.8.8']],
    ]);
    expect(shown(planIsolation(own, EVERYWHERE, left))).toEqual([
      ['a', '10.42.1.2 fd42::2 10.42.2.2 10.42.9.9'],
    ]);
  });
});

describe('the rules', () => {
  let clock: VirtualClock;
  let own: Attachment[];
  let everywhere: ListedAttachment[];
  let applied: string[][][];
  let failure: Error | undefined;
  let release: (() => void) | undefined;
  let isHeld: boolean;
  let listeners: Set<() => void>;
  let left: Map<string, string[]>;

  beforeEach(() => {
    clock = new VirtualClock();
    [own, everywhere, applied] = [[attachment('a', 'app')], [...EVERYWHERE], []];
    [failure, release, isHeld] = [undefined, undefined, false];
    listeners = new Set();
    left = new Map();
  });

  const changed = () => {
    for (const listener of listeners) listener();
  };

  async function started(): Promise<Isolation> {
    const isolation = new Isolation({
      isolated: () => own,
      listed: () => everywhere,
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      rules: {
        isolate: async (groups) => {
          if (isHeld) await new Promise<void>((resolve) => (release = resolve));
          if (failure) throw failure;
          applied.push(shown(groups));
        },
        isolated: async () => left,
      },
      clock,
      log: silentLogger,
    });
    await isolation.start();
    return isolation;
  }

  it('follow what is attached anywhere, many changes at once', async () => {
    const isolation = await started();
    await clock.run(100);
    everywhere = [listed('app', '10.42.2.2')];
    for (let i = 0; i < 100; i++) changed();
    await clock.run(100);
    expect(applied).toEqual([[['a', '10.42.1.2 fd42::2 10.42.2.2']], [['a', '10.42.2.2']]]);
    await isolation.stop();
    expect(listeners.size).toBe(0);
    changed();
    await clock.run(60_000);
    expect(applied).toHaveLength(2);
  });

  it('are there for what was attached before it was asked, though others are being made', async () => {
    const isolation = await started();
    isHeld = true;
    const first = isolation.settled();
    await clock.run(1);
    own = [...own, attachment('b', 'db')];
    let isSettled = false;
    const second = isolation.settled().then(() => (isSettled = true));
    isHeld = false;
    release!();
    await first;
    expect(isSettled).toBe(false);
    await second;
    expect(applied.at(-1)).toEqual([
      ['a', '10.42.1.2 fd42::2 10.42.2.2'],
      ['b', '10.42.1.3'],
    ]);
    await isolation.stop();
  });

  it('that fail are said to whoever waits and in the problems, and are tried again', async () => {
    const isolation = await started();
    failure = new WarrenError('TOOL_MISSING', 'the program nft is not installed');
    await expect(isolation.settled()).rejects.toThrow('nft is not installed');
    await clock.run(100);
    expect(isolation.problems()).toEqual([expect.stringContaining('nft is not installed')]);
    failure = undefined;
    await clock.run(6000);
    expect([isolation.problems(), applied.length]).toEqual([[], 1]);
    await isolation.stop();
  });

  it('keep what an earlier run let through until the inventories are here', async () => {
    const [{ key }] = planIsolation(own, []) as [IsolatedGroup];
    left = new Map([[key, ['10.42.2.2']]]);
    everywhere = [];
    const isolation = await started();
    await clock.run(100);
    expect(applied).toEqual([[['a', '10.42.2.2']]]);
    await clock.run(11_000);
    expect(applied.at(-1)).toEqual([['a', '']]);
    await isolation.stop();
  });
});
