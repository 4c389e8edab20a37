import { beforeEach, describe, expect, it } from 'vitest';
import { ServiceManager } from '../../../src/agent/service-manager.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

let clock: VirtualClock;
let sent: string[];

beforeEach(() => {
  clock = new VirtualClock();
  sent = [];
});

function manager(env: Record<string, string | undefined>): ServiceManager {
  const send = (socket: string, text: string) => sent.push(`${socket} ${text}`);
  return new ServiceManager({ env, clock, log: silentLogger, send });
}

/** What is sent in `durationMs`. */
function during(durationMs: number): string[] {
  sent = [];
  clock.advance(durationMs);
  return sent.map((text) => text.replace('@n ', ''));
}

describe('the service manager', () => {
  it('is asked for time until the overlay is up, and hears signs of life from then on', () => {
    const service = manager({ NOTIFY_SOCKET: '@n', WATCHDOG_USEC: '30000000' });
    expect(sent).toEqual(['@n EXTEND_TIMEOUT_USEC=60000000']);
    expect(during(30_000)).toEqual(Array(3).fill('EXTEND_TIMEOUT_USEC=60000000'));
    sent = [];
    service.ready('the overlay is up:\n 10.42.0.0/24');
    expect(sent).toEqual(['@n READY=1\nSTATUS=the overlay is up:; 10.42.0.0/24', '@n WATCHDOG=1']);
    expect(during(60_000)).toEqual(Array(4).fill('WATCHDOG=1'));
    // Another subnet: as often as before.
    service.ready('the overlay is up: 10.42.1.0/24');
    expect(during(30_000)).toHaveLength(2);
  });

  it('hears of a reload with the time of it, but not before it was told of the start', () => {
    const service = manager({ NOTIFY_SOCKET: '@n' });
    sent = [];
    service.reloading();
    service.reloaded();
    expect(sent).toEqual([]);
    service.ready('up');
    sent = [];
    const beforeUs = process.hrtime.bigint() / 1000n;
    service.reloading();
    service.reloaded();
    const [, reloadingUs] = /^@n RELOADING=1\nMONOTONIC_USEC=(\d+)$/.exec(sent[0]!)!;
    expect(BigInt(reloadingUs!)).toBeGreaterThanOrEqual(beforeUs);
    expect(BigInt(reloadingUs!)).toBeLessThanOrEqual(process.hrtime.bigint() / 1000n);
    expect(sent[1]).toBe('@n READY=1');
  });

  it('hears once that the agent stops, and nothing after it', () => {
    const service = manager({ NOTIFY_SOCKET: '@n', WATCHDOG_USEC: '2000000' });
    service.ready('up');
    sent = [];
    service.stopping();
    service.stopping();
    service.ready('up');
    service.status('waiting');
    expect(sent).toEqual(['@n STOPPING=1\nSTATUS=stopping']);
    expect(during(10_000)).toEqual([]);
  });

  it('is not spoken to by programs that the agent runs, nor by a process that is not the one watched', () => {
    const env = { NOTIFY_SOCKET: '@n', WATCHDOG_USEC: '2000000', WATCHDOG_PID: '1', HOME: '/root' };
    const service = manager(env);
    expect(env).toEqual({ HOME: '/root' });
    service.ready('up');
    expect(during(10_000)).toEqual([]);
  });

  it('that does not listen is no reason to fail', () => {
    const env = { NOTIFY_SOCKET: `@warren-test/${process.pid}/nobody` };
    const service = new ServiceManager({ env, clock, log: silentLogger });
    expect(() => service.ready('up')).not.toThrow();
  });
});
