import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../src/config/load.ts';
import { openTunnelSockets } from '../../../src/dataplane/tunnel-sockets.ts';
import type { UserspaceParts } from '../../../src/dataplane/userspace-parts.ts';
import { formOf } from '../../../src/encapsulation/choose.ts';
import type { Underlay } from '../../../src/host/underlay-route.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import type { UnderlaySocketOptions } from '../../../src/underlay/underlay-socket.ts';

const config = parseConfig('cluster: {podCidrs: [10.42.0.0/16]}', 'test', 'host');
const underlay = { address: parseAddress('192.0.2.1'), mtu: 1500, interfaceName: 'eth0' } as Underlay;
const offloads = { udpSegment: true, udpGro: true };
const vxlanGpe = formOf(config.encapsulation);

/** Ports that are asked for, and how many sockets of each. */
function open(workers: number, sendsFromOnePort: boolean) {
  const asked: { port: number; count: number }[] = [];
  const openSockets = ({ port, count }: UnderlaySocketOptions) => {
    asked.push({ port, count });
    return { descriptors: Array.from({ length: count }, (_, i) => 10 * asked.length + i), offloads };
  };
  const parts = { openSockets } as unknown as UserspaceParts;
  const form = { ...vxlanGpe, sendsFromOnePort };
  return { asked, ...openTunnelSockets(config, parts, underlay, workers, offloads, form) };
}

describe('the sockets of a tunnel', () => {
  it('are the same ones both ways for one worker', () => {
    const { asked, receivers, senders } = open(1, vxlanGpe.sendsFromOnePort);
    expect(asked).toEqual([{ port: 4790, count: 1 }]);
    expect(senders).toBe(receivers);
  });

  it('send from a port for each of several workers with VXLAN-GPE', () => {
    const { asked, receivers, senders } = open(3, vxlanGpe.sendsFromOnePort);
    expect(asked).toEqual([
      { port: 4790, count: 3 },
      { port: 0, count: 3 },
    ]);
    expect(senders.descriptors).not.toEqual(receivers.descriptors);
  });

  it('send from the announced port alone where the encapsulation asks for it', () => {
    const { asked, receivers, senders } = open(3, true);
    expect(asked).toEqual([{ port: 4790, count: 3 }]);
    expect(senders).toBe(receivers);
  });
});
