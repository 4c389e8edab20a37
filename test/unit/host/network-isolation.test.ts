/** The rules between networks: as text, and in a real kernel, where others take them away. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type IsolatedGroup,
  NetworkIsolation,
  renderIsolation,
} from '../../../src/host/rules/network-isolation.ts';
import { difference } from '../../../src/host/rules/nft-difference.ts';
import { readLeft, removalScript } from '../../../src/host/rules/rendered-rules.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { NetlinkConversation } from '../../../src/netlink/conversation.ts';
import { NETLINK_NETFILTER } from '../../../src/sys/constants.ts';
import { NetlinkSocket } from '../../../src/sys/netlink-socket.ts';
import { enterOwnNetns } from '../../helpers/own-netns.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

function group(key: string, interfaces: readonly string[], ...texts: string[]): IsolatedGroup {
  return { key, interfaces, reachable: texts.map((text) => parseAddress(text)) };
}

const APP = group('a1', ['wp1', 'wp2'], '10.42.1.2', '10.42.2.2', 'fd42::2');
const OPTIONS = { tunName: 'warren0', podRanges: ['10.42.0.0/16', 'fd42::/16'].map(parsePrefix) };
const EMPTY = renderIsolation([], OPTIONS);

describe('as text', () => {
  it('makes sets before what refers to them', () => {
    expect(difference(EMPTY, renderIsolation([APP], OPTIONS))).toBe(`add table inet warren
add set inet warren networks_warren0_4_a1 { type ipv4_addr; }
add set inet warren networks_warren0_6_a1 { type ipv6_addr; }
add map inet warren networks_warren0_from { type ifname : verdict; }
add map inet warren networks_warren0_to { type ifname : verdict; }
add chain inet warren networks_warren0_from_a1
add chain inet warren networks_warren0_to_a1
add chain inet warren networks_warren0_forward { type filter hook forward priority -20; policy accept; }
add element inet warren networks_warren0_4_a1 { 10.42.1.2, 10.42.2.2 }
add element inet warren networks_warren0_6_a1 { fd42::2 }
flush chain inet warren networks_warren0_from_a1
add rule inet warren networks_warren0_from_a1 ip daddr @networks_warren0_4_a1 return
add rule inet warren networks_warren0_from_a1 ip6 daddr @networks_warren0_6_a1 return
add rule inet warren networks_warren0_from_a1 counter drop
flush chain inet warren networks_warren0_to_a1
add rule inet warren networks_warren0_to_a1 ip saddr 10.42.0.0/16 fib saddr . iif oif missing counter drop
add rule inet warren networks_warren0_to_a1 ip6 saddr fd42::/16 fib saddr . iif oif missing counter drop
add rule inet warren networks_warren0_to_a1 ip saddr @networks_warren0_4_a1 return
add rule inet warren networks_warren0_to_a1 ip6 saddr @networks_warren0_6_a1 return
add rule inet warren networks_warren0_to_a1 meta l4proto { 1, 58 } ct state related return
add rule inet warren networks_warren0_to_a1 counter drop
flush chain inet warren networks_warren0_forward
add rule inet warren networks_warren0_forward iifname vmap @networks_warren0_from
add rule inet warren networks_warren0_forward oifname vmap @networks_warren0_to
add element inet warren networks_warren0_from { "wp1" : jump networks_warren0_from_a1, "wp2" : jump networks_warren0_from_a1 }
add element inet warren networks_warren0_to { "wp1" : jump networks_warren0_to_a1, "wp2" : jump networks_warren0_to_a1 }
`);
  });

  it('says what changes and nothing else', () => {
    const before = renderIsolation([APP], OPTIONS);
    expect(difference(before, before)).toBe('');
    const after = renderIsolation(
      [group('a1', ['wp2', 'wp1'], '10.42.2.2', '10.42.3.2', 'fd42::2')],
      OPTIONS,
    );
    expect(difference(before, after)).toBe(`add table inet warren
delete element inet warren networks_warren0_4_a1 { 10.42.1.2 }
add element inet warren networks_warren0_4_a1 { 10.42.3.2 }
`);
    expect(EMPTY.chains.size + EMPTY.sets.size).toBe(0);
  });

  it('takes away what is its own alone', () => {
    const left = readLeft(
      JSON.stringify({
        nftables: [
          { metainfo: { version: '1.0.6' } },
          { table: { name: 'warren' } },
          { chain: { name: 'source_check' } },
          { chain: { name: 'networks_warren0_forward' } },
          { map: { name: 'networks_warren0_from', elem: [['wp1', { jump: { target: 'x' } }]] } },
          { set: { name: 'networks_warren0_4_a1', elem: ['10.42.1.2', { prefix: {} }] } },
          { set: { name: 'networks_warren01_4_a1' } },
        ],
      }),
      'networks_warren0_',
    );
    expect(left.sets).toEqual(new Map([['networks_warren0_4_a1', ['10.42.1.2']]]));
    expect(removalScript(left)).toBe(`flush chain inet warren networks_warren0_forward
delete map inet warren networks_warren0_from
delete chain inet warren networks_warren0_forward
delete set inet warren networks_warren0_4_a1
`);
    expect(removalScript({ chains: [], maps: [], counters: [], sets: new Map() })).toBe('');
  });
});

describeUnless(lacking('root', 'nft'), 'in a kernel', () => {
  let socket: NetlinkSocket;
  const isolationOf = (tunName: string) =>
    new NetworkIsolation({ ...OPTIONS, tunName }, new NetlinkConversation(socket));
  const nft = (...words: string[]) => execFileSync('nft', words, { encoding: 'utf8' });

  beforeAll(() => {
    enterOwnNetns();
    socket = NetlinkSocket.open(NETLINK_NETFILTER);
  });
  afterAll(() => socket.close());

  it('is made, changed, found by the next run, put back and taken away; others keep theirs', async () => {
    const other = isolationOf('warren01');
    await other.apply([group('a1', ['wp9'], '10.42.9.2')]);
    const others = nft('list', 'table', 'inet', 'warren');
    const first = isolationOf('warren0');
    expect([first.isRight(), (await first.left()).size]).toEqual([true, 0]);
    // Both groups at once: the second waits for the first.
    await Promise.all([first.apply([APP]), first.apply([APP, group('b2', ['wp3'])])]);
    expect(nft('list', 'map', 'inet', 'warren', 'networks_warren0_from').match(/wp\d/g)?.sort()).toEqual([
      ...['wp1', 'wp2', 'wp3'],
    ]);

    const next = isolationOf('warren0');
    expect(await next.left()).toEqual(
      new Map([
        ['a1', ['10.42.1.2', '10.42.2.2', 'fd42::2']],
        ['b2', []],
      ]),
    );
    await next.apply([APP]);
    expect(nft('list', 'table', 'inet', 'warren')).not.toContain('b2');

    for (const damage of [
      ['flush', 'chain', 'inet', 'warren', 'networks_warren0_forward'],
      ['delete', 'table', 'inet', 'warren'],
    ]) {
      expect([next.isRight(), await next.repair()]).toEqual([true, false]);
      nft(...damage);
      expect([next.isRight(), await next.repair(), next.isRight()]).toEqual([false, true, true]);
    }
    expect(nft('list', 'chain', 'inet', 'warren', 'networks_warren0_to_a1')).toContain('drop');
    // What somebody else has changed in between fails, and all of it is made anew.
    nft('delete', 'element', 'inet', 'warren', 'networks_warren0_4_a1', '{ 10.42.1.2 }');
    await next.apply([group('a1', ['wp1'], 'fd42::2')]);
    expect(await next.left()).toEqual(new Map([['a1', ['fd42::2']]]));
    expect([other.isRight(), await other.repair()]).toEqual([false, true]);
    await next.apply([]);
    expect(nft('list', 'table', 'inet', 'warren')).toBe(others);
    await other.remove();
    expect(nft('list', 'table', 'inet', 'warren')).not.toContain('networks');
  });
});
