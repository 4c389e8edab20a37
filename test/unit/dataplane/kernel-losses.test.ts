/** The kernel's counts added up: over a wrap, over sockets and devices that come and go, and where there are none. */
import { beforeEach, describe, expect, it } from 'vitest';
import { KernelLosses } from '../../../src/dataplane/kernel-losses.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

const sockets = new Map<number, number>();
const devices = new Map<string, number>();
let clock: VirtualClock;
let losses: KernelLosses;

beforeEach(() => {
  sockets.clear();
  devices.clear();
  clock = new VirtualClock();
  losses = new KernelLosses(
    { socketDrops: (fd) => sockets.get(fd), tunDrops: (name) => devices.get(name) },
    clock,
  );
});

const ofSockets = () => losses.drops()['inbound-socket-overflow'];
const ofTun = () => losses.drops()['outbound-queue-overflow'];

describe('what sockets have dropped', () => {
  it('is summed over all of them', () => {
    for (const fd of [7, 8]) sockets.set(fd, 0);
    losses.socketsOpened([7, 8]);
    expect(ofSockets()).toBe(0);
    sockets.set(7, 3);
    sockets.set(8, 20);
    expect(ofSockets()).toBe(23);
    expect(ofSockets()).toBe(23);
    sockets.set(8, 21);
    expect(ofSockets()).toBe(24);
  });

  it('goes on where the count of one wraps, and beyond 32 bits', () => {
    sockets.set(7, 0);
    losses.socketsOpened([7]);
    sockets.set(7, 0xffff_fff0);
    expect(ofSockets()).toBe(0xffff_fff0);
    sockets.set(7, 5);
    expect(ofSockets()).toBe(0x1_0000_0005);
    sockets.set(7, 0xffff_fff0);
    expect(ofSockets()).toBe(0x1_ffff_fff0);
  });

  it('is looked at often enough that no wrap is missed, until it is closed', async () => {
    sockets.set(7, 0);
    losses.socketsOpened([7]);
    losses.start();
    // Four wraps, with nobody asking.
    for (let i = 1; i <= 8; i++) {
      sockets.set(7, (i * 0x8000_0000) % 2 ** 32);
      await clock.run(10_000);
    }
    expect(ofSockets()).toBe(8 * 0x8000_0000);
    losses.close();
    sockets.set(7, 1);
    await clock.run(60_000);
    sockets.set(7, 0);
    expect(ofSockets()).toBe(8 * 0x8000_0000);
  });

  it('stays when they are closed, with the last that they dropped, and others have their descriptors', () => {
    sockets.set(7, 0);
    losses.socketsOpened([7]);
    sockets.set(7, 10);
    losses.socketsClosing([7]);
    sockets.set(7, 0);
    losses.socketsOpened([7]);
    expect(ofSockets()).toBe(10);
    sockets.set(7, 4);
    expect(ofSockets()).toBe(14);
  });

  it('is nothing where the kernel does not say', () => {
    losses.socketsOpened([7]);
    expect(ofSockets()).toBe(0);
  });
});

describe('what the TUN device has dropped', () => {
  it('counts from when it was opened', () => {
    devices.set('warren0', 1000);
    losses.tunOpened('warren0');
    devices.set('warren0', 1003);
    expect(ofTun()).toBe(3);
  });

  it('goes on with the next device', () => {
    devices.set('warren0', 0);
    losses.tunOpened('warren0');
    devices.set('warren0', 5);
    expect(ofTun()).toBe(5);
    devices.delete('warren0');
    losses.tunClosing();
    expect(ofTun()).toBe(5);
    devices.set('warren0', 0);
    losses.tunOpened('warren0');
    devices.set('warren0', 2);
    expect(ofTun()).toBe(7);
  });

  it('is known up to 10 s before it was deleted', async () => {
    devices.set('warren0', 0);
    losses.tunOpened('warren0');
    losses.start();
    devices.set('warren0', 5);
    await clock.run(10_000);
    devices.delete('warren0');
    losses.tunClosing();
    expect(ofTun()).toBe(5);
    losses.close();
  });

  it('never shrinks, whatever has its name', () => {
    devices.set('warren0', 0);
    losses.tunOpened('warren0');
    devices.set('warren0', 5);
    expect(ofTun()).toBe(5);
    devices.set('warren0', 1);
    expect(ofTun()).toBe(5);
    devices.set('warren0', 3);
    expect(ofTun()).toBe(7);
  });
});
