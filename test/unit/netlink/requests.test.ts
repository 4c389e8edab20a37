import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/ip/address.ts';
import { hostPrefix, parsePrefix } from '../../../src/ip/prefix.ts';
import { deleteAddress, getAddresses, replaceAddress } from '../../../src/netlink/address.ts';
import { NetlinkConversation } from '../../../src/netlink/conversation.ts';
import {
  deleteGroup,
  deleteLink,
  getLink,
  getLinks,
  getNamespaceId,
  newVeth,
  setLink,
} from '../../../src/netlink/link.ts';
import type { Request } from '../../../src/netlink/message.ts';
import * as nft from '../../../src/netlink/nf-tables.ts';
import { deleteRoute, getRoutes, replaceRoute } from '../../../src/netlink/route.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
/** Type and flags as numbers, and the body as words of four bytes. */
const shown = ({ type, flags, body }: Request) => [
  type,
  flags,
  hex(body)
    .match(/.{1,8}/g)!
    .join(' '),
];
const address = parseAddress('10.42.0.2');
const address6 = parseAddress('fd42::2');

describe('requests have the bytes that iproute2 and nft send', () => {
  it('a veth pair, with the other end in another namespace', () => {
    const request = newVeth(
      { name: 'wp1', mtu: 1400 },
      { name: 'eth0', mtu: 1400, gsoMaxSegments: 44, namespaceFd: 7 },
    );
    expect(shown(request)).toEqual([
      16,
      0x600,
      [
        '00000000 00000000 00000000 00000000', // ifinfomsg
        '08000300 77703100', // IFLA_IFNAME wp1
        '08000400 78050000', // IFLA_MTU
        '4c001280', // IFLA_LINKINFO
        '09000100 76657468 00000000', // IFLA_INFO_KIND veth
        '3c000280 38000100', // IFLA_INFO_DATA, VETH_INFO_PEER
        '00000000 00000000 00000000 00000000',
        '09000300 65746830 00000000', // IFLA_IFNAME eth0
        '08000400 78050000',
        '08002800 2c000000', // IFLA_GSO_MAX_SEGS
        '08001c00 07000000', // IFLA_NET_NS_FD
      ].join(' '),
    ]);
  });

  it.each<[string, Request, number, number, string]>([
    [
      'no address of the kernel',
      setLink({ index: 5, noAddress: true }),
      16,
      0,
      '00000000 05000000 00000000 00000000 10001a80 0c000a80 05000800 01000000',
    ],
    [
      'size and up',
      setLink({ index: 5, mtu: 1400, gsoMaxSegments: 44, up: true }),
      16,
      0,
      '00000000 05000000 01000000 01000000 08000400 78050000 08002800 2c000000',
    ],
    [
      'group',
      setLink({ index: 5, group: 9 }),
      16,
      0,
      '00000000 05000000 00000000 00000000 08001b00 09000000',
    ],
    ['delete a group', deleteGroup(9), 17, 0, '00000000 00000000 00000000 00000000 08001b00 09000000'],
    ['delete', deleteLink('wp1'), 17, 0, '00000000 00000000 00000000 00000000 08000300 77703100'],
    [
      'look',
      getLink('wp1'),
      18,
      0,
      '00000000 00000000 00000000 00000000 08000300 77703100 08001d00 08000000',
    ],
    ['look at all', getLinks(), 18, 0, '00000000 00000000 00000000 00000000 08001d00 08000000'],
    ['namespace id', getNamespaceId(9), 90, 0, '00000000 08000300 09000000'],
    [
      'IPv4 address',
      replaceAddress({ index: 5, address, prefixLength: 32 }),
      20,
      0x500,
      '02200000 05000000 08000200 0a2a0002 08000100 0a2a0002',
    ],
    [
      'IPv6 address, nodad',
      replaceAddress({ index: 5, address: address6, prefixLength: 128 }),
      20,
      0x500,
      '0a800200 05000000 14000200 fd420000 00000000 00000000 00000002 14000100 fd420000 00000000 00000000 00000002',
    ],
    [
      'delete an address',
      deleteAddress({ index: 5, address, prefixLength: 24 }),
      21,
      0,
      '02180000 05000000 08000200 0a2a0002 08000100 0a2a0002',
    ],
    ['addresses of an interface', getAddresses({ index: 5 }), 22, 0, '00000000 05000000'],
    ['addresses of a family', getAddresses({ family: 6 }), 22, 0, '0a000000 00000000'],
    [
      'host route',
      replaceRoute({
        destination: hostPrefix(address),
        index: 5,
        source: parseAddress('10.42.0.1'),
        protocol: 87,
      }),
      24,
      0x500,
      '02200000 fe57fd01 00000000 08000100 0a2a0002 08000700 0a2a0001 08000400 05000000',
    ],
    [
      'IPv6 host route',
      replaceRoute({ destination: hostPrefix(address6), index: 5, protocol: 87 }),
      24,
      0x500,
      '0a800000 fe570001 00000000 14000100 fd420000 00000000 00000000 00000002 08000400 05000000',
    ],
    [
      'default route, on-link',
      replaceRoute({
        destination: parsePrefix('0.0.0.0/0'),
        index: 5,
        gateway: parseAddress('10.42.0.1'),
        onLink: true,
      }),
      24,
      0x500,
      '02000000 fe030001 04000000 08000500 0a2a0001 08000400 05000000',
    ],
    [
      'delete a route',
      deleteRoute({ destination: hostPrefix(address), index: 5, protocol: 87 }),
      25,
      0,
      '02200000 fe57fd01 00000000 08000100 0a2a0002 08000400 05000000',
    ],
    ['routes', getRoutes(4, 87, 5), 26, 0, '02000000 fe570000 00000000 08000400 05000000'],
    [
      'set element of name and IPv4 address',
      nft.addElements('warren', 'ipv4_sources', [
        { interfaceName: 'wp1', address: parseAddress('10.42.0.7') },
      ]),
      0x0a0c,
      0x400,
      '01000000 0b000100 77617272 656e0000 11000200 69707634 5f736f75 72636573 00000000 ' +
        '24000380 20000180 1c000180 18000100 77703100 00000000 00000000 00000000 0a2a0007',
    ],
    [
      'delete an element of name and IPv6 address',
      nft.deleteElements('t', 's', [{ interfaceName: 'wp1', address: address6 }]),
      0x0a0e,
      0,
      '01000000 06000100 74000000 06000200 73000000 30000380 2c000180 28000180 24000100 ' +
        '77703100 00000000 00000000 00000000 fd420000 00000000 00000000 00000002',
    ],
    ['elements', nft.getElements('t', 's'), 0x0a0d, 0, '01000000 06000100 74000000 06000200 73000000'],
    ['rules', nft.getRules('t'), 0x0a07, 0, '01000000 06000100 74000000'],
    [
      'counter',
      nft.getCounter('t', 'c'),
      0x0a13,
      0,
      '01000000 06000100 74000000 06000200 63000000 08000300 00000001',
    ],
    ['delete a table', nft.deleteTable('t'), 0x0a02, 0, '01000000 06000100 74000000'],
  ])('%s', (_title, request, type, flags, body) => {
    expect(shown(request)).toEqual([type, flags, body]);
  });

  it('several changes in one datagram, each to be acknowledged', () => {
    const sent: Uint8Array[] = [];
    const conversation = new NetlinkConversation({
      send: (datagram) => sent.push(datagram),
      receive: () => acknowledgements([1, 0], [2, 0]),
    });
    conversation.change([
      { request: deleteLink('a'), doing: 'one' },
      { request: deleteLink('b'), doing: 'two' },
    ]);
    const header = (sequence: string) => `28000000110005000${sequence}00000000000000`;
    const body = (name: string) => `${'00'.repeat(16)}06000300${name}000000`;
    expect(sent.map(hex)).toEqual([`${header('1')}${body('61')}${header('2')}${body('62')}`]);
  });

  it('changes of nf_tables between the two edges of a batch', () => {
    const sent: Uint8Array[] = [];
    const conversation = new NetlinkConversation({
      send: (datagram) => sent.push(datagram),
      receive: () => acknowledgements([2, 0]),
    });
    conversation.transact([{ request: nft.deleteTable('t'), doing: 'one' }]);
    expect(sent.map(hex)).toEqual([
      '1400000010000100010000000000000000' +
        '00000a' +
        '1c000000020a050002000000000000000100000006000100' +
        '74000000' +
        '1400000011000100030000000000000000' +
        '00000a',
    ]);
  });
});

/** NLMSG_ERROR messages: sequence number and errno of each. */
function acknowledgements(...answers: readonly (readonly [sequence: number, errno: number])[]): Uint8Array {
  const bytes = new Uint8Array(36 * answers.length);
  const view = new DataView(bytes.buffer);
  answers.forEach(([sequence, errno], i) => {
    view.setUint32(36 * i, 36, true);
    view.setUint16(36 * i + 4, 2, true);
    view.setUint32(36 * i + 8, sequence, true);
    view.setInt32(36 * i + 16, -errno, true);
  });
  return bytes;
}
