import { beforeEach, describe, expect, it } from 'vitest';
import { waitForUnderlay } from '../../../src/agent/underlay-wait.ts';
import { parseConfig } from '../../../src/config/load.ts';
import type { Underlay } from '../../../src/host/underlay-route.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { MemoryHost } from '../../helpers/memory-host.ts';

const carrier = { linkMtu: () => 1500, carry: () => {} };
const ADDRESS = parseAddress('192.0.2.1');

let clock: VirtualClock;
let host: MemoryHost;
let stop: AbortController;
let reasons: string[];
let outcome: Underlay | unknown;

beforeEach(() => {
  clock = new VirtualClock();
  host = new MemoryHost(carrier, () => clock.now());
  stop = new AbortController();
  reasons = [];
  outcome = undefined;
});

function wait(): void {
  const config = parseConfig('cluster: {podCidrs: [10.42.0.0/16]}', 'test', 'host');
  waitForUnderlay({
    config,
    host,
    clock,
    log: silentLogger,
    signal: stop.signal,
    onWaiting: ({ message }) => reasons.push(message),
  }).then(
    (underlay) => (outcome = underlay),
    (error) => (outcome = error),
  );
}

const looks = () => host.steps.filter((step) => step === 'resolveUnderlay').length;

describe('waiting for an underlay', () => {
  it('does not wait where there is one', async () => {
    host.addInterface('eth0', 1500, ADDRESS);
    wait();
    await clock.run(0);
    expect(outcome).toMatchObject({ address: ADDRESS });
    expect(looks()).toBe(1);
  });

  it('ends soon after the address has come, and says why it waits once', async () => {
    wait();
    await clock.run(60_000);
    expect(outcome).toBeUndefined();
    expect(reasons).toEqual(['no interface has an address']);
    // With growing pauses: an idle host does not notice.
    expect(looks()).toBeLessThan(12);
    host.addInterface('eth0', 1500, ADDRESS);
    await clock.run(100);
    expect(outcome).toMatchObject({ address: ADDRESS });
    expect(host.watchers).toBe(0);
  });

  it('finds an address of which no change of a link told', async () => {
    wait();
    await clock.run(30_000);
    host.interfaces.set('eth0', { mtu: 1500, addresses: [ADDRESS] });
    await clock.run(10_000);
    expect(outcome).toMatchObject({ address: ADDRESS });
  });

  it('ends when it is told to, and holds nothing', async () => {
    wait();
    await clock.run(5000);
    stop.abort('SIGTERM');
    await clock.run(0);
    expect(outcome).toBe('SIGTERM');
    expect(host.watchers).toBe(0);
    const before = looks();
    await clock.run(60_000);
    expect(looks()).toBe(before);
  });

  it('ends with what waiting does not mend', async () => {
    host.failing.set('resolveUnderlay', new Error('no such program: ip'));
    wait();
    await clock.run(0);
    expect(outcome).toMatchObject({ message: 'no such program: ip' });
  });
});
