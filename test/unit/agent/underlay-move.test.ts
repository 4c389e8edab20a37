import { beforeEach, describe, expect, it, vi } from 'vitest';
import { moveUnderlay } from '../../../src/agent/underlay-move.ts';
import { parseConfig } from '../../../src/config/load.ts';
import type { DataPlane } from '../../../src/dataplane/dataplane.ts';
import type { Underlay } from '../../../src/host/underlay-route.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import { MovableTransport } from '../../../src/link/movable-transport.ts';
import { seededRandom } from '../../../src/membership/random.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { VirtualNetwork } from '../../../src/simulate/virtual-network.ts';

const config = parseConfig('cluster: {podCidrs: [10.42.0.0/16]}', 'test', 'host');
const at = (address: string, mtu = 1500): Underlay => ({
  address: parseAddress(address),
  interfaceName: 'eth0',
  mtu,
});
const BEFORE = parseEndpoint('192.0.2.1:7946');
const AFTER = parseEndpoint('192.0.2.77:7946');
const THIRD = parseEndpoint('192.0.2.9:7946');

let network: VirtualNetwork;
let clock: VirtualClock;
let transport: MovableTransport;
let dataPlane: DataPlane;
const moveTo = vi.fn<DataPlane['moveTo']>();
/** Where datagrams of the gossip come from, as a third node sees it. */
let senders: string[];

beforeEach(async () => {
  clock = new VirtualClock();
  network = new VirtualNetwork(clock, seededRandom(1));
  transport = new MovableTransport(BEFORE, (bind) => network.host(bind).transport());
  await transport.open({
    datagram: () => {},
    accept: () => ({ frame: () => {}, drained: () => {}, closed: () => {} }),
  });
  moveTo.mockReset().mockResolvedValue(undefined);
  dataPlane = { underlay: at('192.0.2.1'), moveTo } as Partial<DataPlane> as DataPlane;
  senders = [];
  await network
    .host(THIRD)
    .transport()
    .open({
      datagram: (from) => senders.push(String(from.address.value & 0xffn)),
      accept: () => ({ frame: () => {}, drained: () => {}, closed: () => {} }),
    });
});

function speaksFrom(): string | undefined {
  transport.send(THIRD, new Uint8Array(1));
  clock.advance(10);
  return senders.at(-1);
}

describe('a move of the underlay', () => {
  it('binds the new address for the gossip, moves the data plane, and only then lets go of the old', async () => {
    moveTo.mockImplementation(async () => {
      expect(network.host(BEFORE).handlers).toBeDefined();
      expect(network.host(AFTER).handlers).toBeDefined();
      expect(speaksFrom()).toBe('1');
    });
    await moveUnderlay(config, at('192.0.2.77'), dataPlane, transport);
    expect(moveTo).toHaveBeenCalledTimes(1);
    expect(network.host(BEFORE).handlers).toBeUndefined();
    expect(speaksFrom()).toBe('77');
  });

  it('leaves the gossip where it was when the data plane cannot move', async () => {
    moveTo.mockRejectedValue(new Error('the port is taken'));
    await expect(moveUnderlay(config, at('192.0.2.77'), dataPlane, transport)).rejects.toThrow(
      'the port is taken',
    );
    expect(network.host(AFTER).handlers).toBeUndefined();
    expect(network.host(BEFORE).handlers).toBeDefined();
    expect(speaksFrom()).toBe('1');
  });

  it('leaves the data plane alone when the gossip cannot have the address', async () => {
    const refusing = new MovableTransport(BEFORE, (bind) => {
      const real = network.host(bind).transport();
      if (bind === BEFORE) return real;
      return Object.assign(real, { open: () => Promise.reject(new Error('no such address')) });
    });
    await refusing.open({
      datagram: () => {},
      accept: () => ({ frame: () => {}, drained: () => {}, closed: () => {} }),
    });
    await expect(moveUnderlay(config, at('192.0.2.77'), dataPlane, refusing)).rejects.toThrow(
      'no such address',
    );
    expect(moveTo).not.toHaveBeenCalled();
  });

  it('to another MTU alone does not touch the gossip', async () => {
    await moveUnderlay(config, at('192.0.2.1', 9000), dataPlane, transport);
    expect(moveTo).toHaveBeenCalledWith(at('192.0.2.1', 9000));
    expect(speaksFrom()).toBe('1');
  });

  it('into the pod range is refused', async () => {
    await expect(moveUnderlay(config, at('10.42.3.4'), dataPlane, transport)).rejects.toMatchObject({
      code: 'UNDERLAY_IN_OVERLAY',
    });
    expect(moveTo).not.toHaveBeenCalled();
  });
});
