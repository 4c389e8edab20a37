import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Arena } from '../../../src/sys/arena.ts';
import * as libc from '../../../src/sys/libc.ts';
import { closeTunDevice, openTunDevice } from '../../../src/tun/tun-device.ts';
import { droppedIn, tunDrops } from '../../../src/tun/tun-drops.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../../../src/wire/virtio-net.ts';
import { enterOwnNetns } from '../../helpers/own-netns.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

const DEVICES = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       1       2    3    4    5     6          7         8        9      10   11   12   13    14      15         16
warren0: 101 102 103 104 105 106 107 108 109 110 111 4294967299 113 114 115 116
warren01:       1       2    3    4    5     6          7         8        9      10   11   77   13    14      15         16
`;

describe('the text of /proc/net/dev', () => {
  it('has what a device dropped of what it was to send', () => {
    expect(droppedIn(DEVICES, 'warren0')).toBe(4_294_967_299);
    expect(droppedIn(DEVICES, 'lo')).toBe(12);
  });

  it('has nothing of a device that is not there', () => {
    expect(droppedIn(DEVICES, 'warren')).toBeUndefined();
    expect(droppedIn('', 'warren0')).toBeUndefined();
  });
});

describeUnless(lacking('root', 'ip'), 'a TUN device that nobody reads', () => {
  const NAME = 'warren0';
  const SENT = 700;

  it('has dropped what was sent and cannot be read', async () => {
    enterOwnNetns();
    expect(tunDrops(NAME)).toBeUndefined();
    const device = openTunDevice(NAME, 1, { tso: false, uso: false });
    try {
      expect(tunDrops(NAME)).toBe(0);
      execFileSync('ip', ['link', 'set', 'dev', NAME, 'addrgenmode', 'none', 'multicast', 'off', 'up']);
      execFileSync('ip', ['address', 'add', '10.9.0.1/24', 'dev', NAME]);
      const sender = createSocket('udp4');
      sender.connect(9000, '10.9.0.2');
      await once(sender, 'connect');
      for (let i = 0; i < SENT; i++) {
        await new Promise<void>((resolve, reject) =>
          sender.send('x', (error) => (error ? reject(error) : resolve())),
        );
      }
      sender.close();
      const scratch = new Arena(256);
      let read = 0;
      // The host itself says a word or two of multicast over IPv6.
      while (libc.read(device.readFds[0]!, scratch.address(0), 256) > 0) if (isIpv4(scratch)) read++;
      expect(read).toBeLessThan(SENT);
      expect(read + tunDrops(NAME)!).toBe(SENT);
    } finally {
      closeTunDevice(device);
      execFileSync('ip', ['link', 'delete', NAME]);
    }
  });
});

function isIpv4(frame: Arena): boolean {
  return frame.view.getUint8(VIRTIO_NET_HEADER_BYTES) >> 4 === 4;
}
