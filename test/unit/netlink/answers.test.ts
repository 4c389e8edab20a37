/** Answers of a kernel 6.18, as they came, in dumps.json: each a list of datagrams. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { foreignCode, WarrenError } from '../../../src/errors.ts';
import { formatAddress } from '../../../src/ip/address.ts';
import { formatPrefix } from '../../../src/ip/prefix.ts';
import { decodeAddress, getAddresses } from '../../../src/netlink/address.ts';
import { attributeList } from '../../../src/netlink/attribute.ts';
import { type Change, NetlinkConversation } from '../../../src/netlink/conversation.ts';
import { isRefusal } from '../../../src/netlink/error.ts';
import { decodeLink, decodeNamespaceId, getLink, getLinks } from '../../../src/netlink/link.ts';
import { decodeMessages, type Message } from '../../../src/netlink/message.ts';
import * as nft from '../../../src/netlink/nf-tables.ts';
import { decodeRoute, getRoutes } from '../../../src/netlink/route.ts';

const DUMPS = JSON.parse(readFileSync(new URL('dumps.json', import.meta.url), 'utf8')) as Record<
  string,
  string[]
>;

/** A conversation in which the kernel answers what it once did. */
function replay(...datagrams: readonly Uint8Array[]): NetlinkConversation {
  const left = [...datagrams];
  const receive = () => {
    const next = left.shift();
    if (next === undefined) throw new WarrenError(foreignCode('ETIMEDOUT'), 'no answer');
    return next;
  };
  return new NetlinkConversation({ send: () => {}, receive });
}
const recorded = (name: string) =>
  DUMPS[name]!.map((datagram) => Uint8Array.from(Buffer.from(datagram, 'hex')));
const any: Change = { request: getLinks(), doing: 'asking' };
const dump = (name: string): Message[] => replay(...recorded(name)).dump(any);

describe("the kernel's answers", () => {
  it('links: a loopback and the node end of a veth pair', () => {
    expect(dump('links').map(decodeLink)).toEqual([
      expect.objectContaining({ index: 1, name: 'lo', kind: undefined, mtu: 65536, isUp: true }),
      {
        index: expect.any(Number),
        name: 'wp1',
        kind: 'veth',
        mtu: 1400,
        isUp: true,
        peerIndex: expect.any(Number),
        peerNamespaceId: 0,
      },
    ]);
    const one = replay(...recorded('link')).ask({ request: getLink('wp1'), doing: 'looking' });
    expect(decodeLink(one).name).toBe('wp1');
  });

  it('addresses', () => {
    const found = dump('addresses').flatMap((message) => decodeAddress(message) ?? []);
    expect(
      found.map(({ address, prefixLength, scope }) => [formatAddress(address), prefixLength, scope]),
    ).toEqual(
      expect.arrayContaining([
        ['127.0.0.1', 8, 254],
        ['10.42.0.1', 32, 0],
        ['fe80::1', 64, 253],
      ]),
    );
  });

  it('routes, without those of other tables and kinds', () => {
    const routes = (name: string) =>
      dump(name)
        .flatMap((message) => decodeRoute(message) ?? [])
        .filter(({ protocol }) => protocol === 87)
        .map(({ destination, source }) => [formatPrefix(destination), source && formatAddress(source)]);
    expect(routes('routes4')).toEqual([['10.42.0.2/32', '10.42.0.1']]);
    expect(routes('routes6')).toEqual([['fd42::2/128', undefined]]);
  });

  it('elements of sets', () => {
    const elements = (name: string) =>
      dump(name)
        .flatMap(nft.decodeElements)
        .map(({ interfaceName, address }) => [interfaceName, address && formatAddress(address)]);
    expect(elements('attachments')).toEqual([['wp1', undefined]]);
    expect(elements('sources4')).toEqual([['wp1', '10.42.0.2']]);
    expect(elements('sources6')).toEqual([['wp1', 'fd42::2']]);
  });

  it('rules and counters', () => {
    const places = dump('rules').map(nft.decodeRulePlace);
    expect(places.filter(({ chain }) => chain === 'sources')).toHaveLength(7);
    expect(places.filter(({ chain }) => chain === 'source_check')).toHaveLength(1);
    expect(nft.decodeCounter(replay(...recorded('counter')).ask(any))).toBeGreaterThanOrEqual(0);
  });

  it('refusals, with what was being done and the words of the kernel', () => {
    expect(() => replay(...recorded('missingLink')).ask({ ...any, doing: 'looking for wp9' })).toThrow(
      'looking for wp9 failed with ENODEV: no such device',
    );
    const changes = [
      { ...any, doing: 'raising lo' },
      { ...any, doing: 'setting the MTU' },
    ];
    expect(() => replay(...recorded('tooBig')).change(changes)).toThrow(
      'setting the MTU failed with EINVAL: mtu greater than device maximum',
    );
  });

  it('batches: done, refused in one part, refused as there is no table', () => {
    expect(() => replay(...recorded('batchDone')).transact([any])).not.toThrow();
    const codes = ['batchRefused', 'batchNoTable'].map((name) => {
      try {
        replay(...recorded(name)).transact(name === 'batchRefused' ? [any, any] : [any]);
        return 'done';
      } catch (error) {
        return isRefusal(error, 'ENOENT');
      }
    });
    expect(codes).toEqual([true, true]);
  });

  it('a batch that is refused as a whole is answered once, for its first message', () => {
    const refused = recorded('batchNoTable')[0]!;
    new DataView(refused.buffer).setUint32(8, 1, true);
    expect(() => replay(refused).transact([any, any])).toThrow('ENOENT');
  });

  it('answers to something else are passed over', () => {
    const late = recorded('link')[0]!;
    new DataView(late.buffer).setUint32(8, 99, true);
    expect(decodeLink(replay(late, ...recorded('link')).ask(any)).name).toBe('wp1');
  });

  it('a dump during which something changed is asked for again', () => {
    const interrupted = recorded('attachments');
    const view = new DataView(interrupted[0]!.buffer);
    view.setUint16(6, view.getUint16(6, true) | 0x10, true);
    const again = recorded('sources4');
    for (const datagram of again) {
      // The second request has the second number.
      const view = new DataView(datagram.buffer);
      for (let at = 0; at < datagram.length; at += view.getUint32(at, true)) view.setUint32(at + 8, 2, true);
    }
    const messages = replay(...interrupted, ...again).dump({ request: getAddresses(), doing: 'asking' });
    expect(messages.flatMap(nft.decodeElements)[0]?.address).toBeDefined();
  });
});

describe('whatever bytes come', () => {
  const DECODERS = [
    decodeLink,
    decodeAddress,
    decodeRoute,
    decodeNamespaceId,
    nft.decodeElements,
    nft.decodeRulePlace,
    nft.decodeCounter,
  ];
  const isOurs = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      if (!(error instanceof WarrenError)) throw error;
    }
  };
  const readAll = (datagram: Uint8Array) => {
    isOurs(() => attributeList(datagram));
    isOurs(() => {
      for (const message of decodeMessages(datagram)) {
        for (const decode of DECODERS) isOurs(() => decode(message));
      }
    });
    for (const talk of ['ask', 'dump'] as const) isOurs(() => replay(datagram)[talk](any));
    isOurs(() => replay(datagram).change([any]));
    isOurs(() => replay(datagram).transact([any]));
    isOurs(() => replay(datagram).dump({ request: getRoutes(4, 87), doing: 'x' }));
  };

  it('random ones are refused or read, never an accident', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => readAll(bytes)));
  });

  it('so are real ones with bytes changed or cut off', () => {
    const all = Object.keys(DUMPS).flatMap(recorded);
    fc.assert(
      fc.property(
        fc.constantFrom(...all),
        fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 8 }),
        fc.nat(4000),
        (datagram, changes, length) => {
          const bytes = datagram.slice(0, Math.max(length, 1));
          for (const [place, value] of changes) bytes[place % bytes.length] = value;
          readAll(bytes);
        },
      ),
      { numRuns: 500 },
    );
  });
});
