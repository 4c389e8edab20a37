import { describe, expect, it } from 'vitest';
import {
  VTEP,
  VTEP_GUEST,
  VTEP_LOSES_MARKS,
  VTEP_PARTIAL_CHECKSUMS,
  VTEP_SEALED,
  VTEP_WORDS,
} from '../../../src/datapath/forwarding.ts';
import type { ForwardingPeer } from '../../../src/dataplane/dataplane.ts';
import { ForwardingTable } from '../../../src/dataplane/forwarding-table.ts';
import { Fdb } from '../../../src/fdb/fdb.ts';
import { FDB_LOCAL, FDB_MISS } from '../../../src/fdb/snapshot.ts';
import { addressWords, parseAddress } from '../../../src/ip/address.ts';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';

function peer(key: string, subnets: readonly string[], more: Partial<ForwardingPeer> = {}): ForwardingPeer {
  return {
    key,
    name: key,
    endpoint: parseEndpoint('192.0.2.7:4790'),
    partialChecksums: false,
    subnets: subnets.map(parsePrefix),
    ...more,
  };
}

function set(table: ForwardingTable, peers: readonly ForwardingPeer[], ownSubnets: readonly string[] = []) {
  return table.set({
    peers,
    ownSubnets: ownSubnets.map(parsePrefix),
    ownAddresses: [],
    pathMtu: (key) => (key === 'small' ? 1300 : 1464),
    probeIdentifier: 4711,
  });
}

function owner(table: ForwardingTable, address: string): number {
  const fdb = new Fdb();
  fdb.load(table.state().fdb);
  return fdb.lookup4(addressWords(parseAddress(address))[0]!);
}

function words(table: ForwardingTable, key: string): Int32Array {
  const at = table.index(key)! * VTEP_WORDS;
  return table.state().vteps.subarray(at, at + VTEP_WORDS);
}

describe('the forwarding table', () => {
  it('points prefixes at peers, the later one first and this node before all', () => {
    const table = new ForwardingTable();
    set(
      table,
      [peer('static/x', ['10.42.1.0/24', '10.42.2.0/24']), peer('b', ['10.42.1.0/24', '10.42.3.0/24'])],
      ['10.42.3.0/24'],
    );
    expect(owner(table, '10.42.1.9')).toBe(table.index('b'));
    expect(owner(table, '10.42.2.9')).toBe(table.index('static/x'));
    expect(owner(table, '10.42.3.9')).toBe(FDB_LOCAL);
    expect(owner(table, '10.42.4.9')).toBe(FDB_MISS);
  });

  it('keeps the index of a peer for as long as it is there', () => {
    const table = new ForwardingTable();
    set(table, [peer('a', ['10.42.1.0/24']), peer('b', ['10.42.2.0/24'])]);
    const index = table.index('b');
    set(table, [peer('c', ['10.42.3.0/24']), peer('b', ['10.42.9.0/24'])]);
    expect(table.index('b')).toBe(index);
    expect(table.index('a')).toBeUndefined();
  });

  it('lets an index rest until the packet path works without its peer', () => {
    const table = new ForwardingTable();
    set(table, [peer('a', ['10.42.1.0/24'])]);
    const index = table.index('a');
    set(table, [peer('b', ['10.42.2.0/24'])]);
    expect(table.index('b')).not.toBe(index);
    expect(table.release()).toEqual([index]);
    expect(table.release()).toEqual([]);
    set(table, [peer('b', ['10.42.2.0/24']), peer('c', ['10.42.3.0/24'])]);
    expect(table.index('c')).toBe(index);
  });

  it('refuses peers beyond its room, and has room again when others have gone', () => {
    const table = new ForwardingTable(2);
    const [a, b, c] = ['a', 'b', 'c'].map((key, i) => peer(key, [`10.42.${i}.0/24`])) as [
      ForwardingPeer,
      ForwardingPeer,
      ForwardingPeer,
    ];
    expect(set(table, [a, b, c]).refused).toEqual([c]);
    expect(owner(table, '10.42.2.1')).toBe(FDB_MISS);
    expect(set(table, [b, c]).refused).toEqual([c]);
    table.release();
    expect(set(table, [b, c]).refused).toEqual([]);
    expect(owner(table, '10.42.2.1')).toBe(table.index('c'));
  });

  it('takes for guests those that are no nodes, have keys, and have addresses of this node', () => {
    const table = new ForwardingTable();
    const publicKey = new Uint8Array(32);
    const isGuest = { isGuest: true, publicKey };
    const inside = ['10.42.1.9/32', '10.43.0.0/24'];
    set(
      table,
      [
        peer('guest', inside, { ...isGuest, endpoint: undefined }),
        peer('site', ['10.43.1.0/24', '10.42.2.9/32'], isGuest),
        peer('node', ['10.42.1.10/32'], { publicKey }),
        peer('clear', ['10.42.1.11/32'], { isGuest: true }),
      ],
      ['10.42.1.0/24'],
    );
    const flags = (key: string) => words(table, key)[VTEP.flags];
    expect(['guest', 'site', 'node', 'clear'].map(flags)).toEqual([
      VTEP_SEALED | VTEP_GUEST,
      VTEP_SEALED,
      VTEP_SEALED,
      0,
    ]);
    expect(owner(table, '10.42.1.9')).toBe(table.index('guest'));
    expect(owner(table, '10.42.1.8')).toBe(FDB_LOCAL);
    // It is to be heard from first, and its packets are measured all the same.
    expect([words(table, 'guest')[VTEP.port], words(table, 'guest')[VTEP.mtu]]).toEqual([0, 1464]);
    expect(table.keyed(new Map()).map(({ endpoint }) => endpoint?.length)).toEqual([undefined, 6, 6]);
  });

  it('says of each path what it carries, and how probes are known', () => {
    const table = new ForwardingTable();
    set(table, [
      peer('silent', ['10.42.1.0/24'], { losesMarks: true }),
      peer('small', ['10.42.2.0/24']),
      peer('large', ['10.42.3.0/24'], { partialChecksums: true }),
    ]);
    expect(words(table, 'small')[VTEP.mtu]).toBe(1300);
    expect(words(table, 'large')[VTEP.mtu]).toBe(1464);
    expect(words(table, 'large')[VTEP.flags]).toBe(VTEP_PARTIAL_CHECKSUMS);
    expect(words(table, 'silent')[VTEP.flags]).toBe(VTEP_LOSES_MARKS);
    expect(words(table, 'small')[VTEP.port]).toBe(4790);
    expect(table.state().probeIdentifier).toBe(4711);
  });
});
