import { beforeEach, describe, expect, it, vi } from 'vitest';
import { HostGuard, type Repair } from '../../../src/agent/host-guard.ts';
import type { Underlay } from '../../../src/host/underlay-route.ts';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { MemoryHost } from '../../helpers/memory-host.ts';

let clock: VirtualClock;
let host: MemoryHost;
let guard: HostGuard;
let isChanging: boolean;
let isAttaching: boolean;
let underlay: Underlay;
const repair = vi.fn<() => Promise<Repair>>();
const moveTo = vi.fn<(next: Underlay) => Promise<void>>();

beforeEach(() => {
  clock = new VirtualClock();
  host = new MemoryHost({ linkMtu: () => 1500, carry: () => {} }, () => clock.now());
  host.addInterface('eth0', 1500, parseAddress('192.0.2.1'));
  underlay = { address: parseAddress('192.0.2.1'), interfaceName: 'eth0', mtu: 1500 };
  isChanging = false;
  isAttaching = false;
  repair.mockReset().mockResolvedValue({ done: [] });
  moveTo.mockReset().mockImplementation(async (next) => {
    underlay = next;
  });
  guard = new HostGuard({
    host,
    clock,
    log: silentLogger,
    repair,
    isChanging: () => isChanging,
    isAttaching: () => isAttaching,
    underlay: () => underlay,
    findUnderlay: () => host.resolveUnderlay(),
    moveTo,
  });
  guard.start();
});

describe('the host guard', () => {
  it('answers a burst of events with one look', async () => {
    for (let event = 0; event < 10; event++) host.changed();
    await clock.run(1000);
    expect(repair).toHaveBeenCalledTimes(1);
  });

  it('looks when the agent is done with the host, and not before', async () => {
    isChanging = true;
    host.changed();
    await clock.run(10_000);
    expect(repair).not.toHaveBeenCalled();
    isChanging = false;
    await clock.run(100);
    expect(repair).toHaveBeenCalledTimes(1);
  });

  it('lets attachments come and go before it looks, for a second at most', async () => {
    isAttaching = true;
    host.changed();
    await clock.run(500);
    expect(repair).not.toHaveBeenCalled();
    isAttaching = false;
    await clock.run(100);
    expect(repair).toHaveBeenCalledTimes(1);
    // Containers that start one after the other for minutes do not keep it from looking.
    isAttaching = true;
    for (let i = 0; i < 30; i++) {
      host.changed();
      await clock.run(100);
    }
    expect(repair.mock.calls.length).toBeGreaterThanOrEqual(3);
    expect(repair.mock.calls.length).toBeLessThanOrEqual(4);
  });

  it('looks again at what changed during a look', async () => {
    let finish = (): void => {};
    repair.mockImplementationOnce(() => new Promise((resolve) => (finish = () => resolve({ done: [] }))));
    host.changed();
    await clock.run(100);
    host.changed();
    finish();
    await clock.run(1000);
    expect(repair).toHaveBeenCalledTimes(2);
  });

  it('looks every five minutes without any event', async () => {
    await clock.run(301_000);
    expect(repair).toHaveBeenCalledTimes(1);
  });

  it('counts what was put back, by kind', async () => {
    repair.mockResolvedValueOnce({ done: ['route', 'route', 'pod'] });
    host.changed();
    await clock.run(100);
    expect(guard.counts).toMatchObject({ route: 2, pod: 1, device: 0 });
  });

  it('follows the MTU of the link', async () => {
    host.setMtu('eth0', 9000);
    await clock.run(100);
    expect(moveTo).toHaveBeenCalledTimes(1);
    expect(underlay).toEqual({ address: parseAddress('192.0.2.1'), interfaceName: 'eth0', mtu: 9000 });
    expect(guard.counts.underlay).toBe(0);
    host.changed();
    await clock.run(1000);
    expect(moveTo).toHaveBeenCalledTimes(1);
  });

  it('moves to the address that is there when its own is gone, and tries until it can', async () => {
    moveTo.mockRejectedValueOnce(new Error('the port is taken'));
    host.replaceAddress('eth0', parseAddress('192.0.2.77'));
    await clock.run(100);
    expect(guard.problem).toBe('the port is taken');
    // What else is wrong is put right all the same.
    expect(repair).toHaveBeenCalledTimes(1);
    await clock.run(1000);
    expect(formatAddress(underlay.address)).toBe('192.0.2.77');
    expect(guard.problem).toBeUndefined();
    expect(guard.counts.underlay).toBe(1);
  });

  it('counts what it could put back, and tries the rest again', async () => {
    repair.mockResolvedValueOnce({ done: ['route'], error: new Error('one pod is stuck') });
    host.changed();
    await clock.run(100);
    expect(guard.counts.route).toBe(1);
    expect(guard.problem).toBe('one pod is stuck');
    await clock.run(1000);
    expect(repair).toHaveBeenCalledTimes(2);
    expect(guard.problem).toBeUndefined();
  });

  it('looks no more once it has stopped', async () => {
    host.changed();
    await guard.stop();
    await clock.run(600_000);
    expect(repair).not.toHaveBeenCalled();
  });
});
