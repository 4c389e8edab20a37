/** A peer's timers, in virtual time. */
import { describe, expect, it } from 'vitest';
import { MAX_RETRIES, PeerTimers } from '../../../../src/encapsulation/wireguard/timers.ts';
import { WaitingPackets } from '../../../../src/encapsulation/wireguard/waiting-packets.ts';
import { VirtualClock } from '../../../../src/simulate/virtual-clock.ts';

interface Stage {
  readonly clock: VirtualClock;
  readonly timers: PeerTimers;
  /** What was asked for, each with the second at which it was. */
  readonly log: string[];
  random: number;
}

function stage(persistentKeepaliveMs = 0): Stage {
  const clock = new VirtualClock();
  const log: string[] = [];
  const say = (what: string): void => {
    log.push(`${(clock.now() / 1_000).toFixed(3)} ${what}`);
  };
  const made: Stage = {
    clock,
    log,
    random: 0,
    timers: new PeerTimers(
      clock,
      {
        initiate: (isRetry) => {
          say(isRetry ? 'retry' : 'initiate');
          made.timers.initiationSent(isRetry);
        },
        sendKeepalive: () => {
          say('keepalive');
          made.timers.authenticatedSent();
        },
        giveUp: () => say('give up'),
        forget: () => say('forget'),
      },
      { persistentKeepaliveMs, random: () => made.random },
    ),
  };
  return made;
}

describe('timers of a peer', () => {
  it('try a handshake again every 5 s for 90 s, then give up, and forget after 540 s', () => {
    const { clock, timers, log } = stage();
    timers.initiationSent(false);
    clock.advance(3_600_000);
    expect(log.length).toBe(MAX_RETRIES + 2);
    expect(log.slice(0, 2)).toEqual(['5.000 retry', '10.000 retry']);
    expect(log.slice(-3)).toEqual(['90.000 retry', '95.000 give up', '635.000 forget']);
  });

  it('spread retries by up to 334 ms', () => {
    const made = stage();
    made.random = 0.999;
    made.timers.initiationSent(false);
    made.clock.advance(5_400);
    expect(made.log).toEqual(['5.333 retry']);
  });

  it('do not try again what ended', () => {
    const { clock, timers, log } = stage();
    timers.initiationSent(false);
    clock.advance(4_000);
    timers.handshakeEnded();
    clock.advance(60_000);
    expect(log).toEqual([]);
  });

  it('begin a handshake 15 s after data that nothing answers, counted from the first', () => {
    const { clock, timers, log } = stage();
    timers.dataSent();
    clock.advance(9_000);
    timers.dataSent();
    clock.advance(6_000);
    expect(log).toEqual(['15.000 initiate']);
  });

  it('begin none where anything comes', () => {
    const { clock, timers, log } = stage();
    timers.dataSent();
    clock.advance(14_999);
    timers.authenticatedReceived();
    clock.advance(60_000);
    expect(log).toEqual([]);
  });

  it('answer data after 10 s of silence, once for each time that some came', () => {
    const { clock, timers, log } = stage();
    timers.dataReceived();
    clock.advance(5_000);
    timers.dataReceived();
    clock.advance(60_000);
    expect(log).toEqual(['10.000 keepalive', '20.000 keepalive']);
  });

  it('send no keepalive where anything else is sent', () => {
    const { clock, timers, log } = stage();
    timers.dataReceived();
    clock.advance(9_999);
    timers.authenticatedSent();
    clock.advance(60_000);
    expect(log).toEqual([]);
  });

  it('send keepalives without end where they are asked for, from the first packet on', () => {
    const { clock, timers, log } = stage(25_000);
    clock.advance(100_000);
    timers.authenticatedReceived();
    clock.advance(20_000);
    timers.authenticatedSent();
    clock.advance(51_000);
    expect(log).toEqual(['145.000 keepalive', '170.000 keepalive']);
  });

  it('forget keys 540 s after the last handshake', () => {
    const { clock, timers, log } = stage();
    timers.keysDerived();
    clock.advance(120_000);
    timers.keysDerived();
    clock.advance(3_600_000);
    expect(log).toEqual(['660.000 forget']);
  });

  it('do nothing once closed', () => {
    const { clock, timers, log } = stage(1_000);
    timers.initiationSent(false);
    timers.dataSent();
    timers.dataReceived();
    timers.keysDerived();
    timers.authenticatedReceived();
    timers.close();
    timers.dataReceived();
    clock.advance(3_600_000);
    expect(log).toEqual([]);
  });
});

describe('packets that wait', () => {
  it('are bounded in number, the oldest going first', () => {
    const waiting = new WaitingPackets();
    let dropped = 0;
    for (let number = 0; number < 200; number++) dropped += waiting.add(Buffer.of(number));
    expect([dropped, waiting.size]).toEqual([72, 128]);
    expect(waiting.take().map(([number]) => number)).toEqual(Array.from({ length: 128 }, (_, at) => at + 72));
    expect(waiting.size).toBe(0);
  });

  it('are bounded in bytes', () => {
    const waiting = new WaitingPackets();
    const packet = Buffer.alloc(60_000);
    expect([1, 2, 3, 4, 5, 6].map(() => waiting.add(packet))).toEqual([0, 0, 0, 0, 1, 1]);
    expect(waiting.add(Buffer.alloc(300_000))).toBe(1);
    expect(waiting.size).toBe(4);
  });

  it('are copies', () => {
    const waiting = new WaitingPackets();
    const packet = Buffer.of(1);
    waiting.add(packet);
    packet[0] = 2;
    expect(waiting.take()).toEqual([Buffer.of(1)]);
  });
});
