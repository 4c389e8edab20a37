/** What nftables says of packets, from its messages to how far each kind came. */
import { describe, expect, it } from 'vitest';
import { attribute, be32, nested, text } from '../../../src/netlink/attribute.ts';
import * as nl from '../../../src/netlink/constants.ts';
import type { Message } from '../../../src/netlink/message.ts';
import { decodeTrace, type TraceMessage } from '../../../src/netlink/nf-trace.ts';
import { FlowMatch } from '../../../src/trace/flow-match.ts';
import { KernelPaths } from '../../../src/trace/kernel-path.ts';
import { probePacket } from '../../../src/trace/probe-packet.ts';
import { checkpointOf, traceScript } from '../../../src/trace/trace-rules.ts';
import { FLOW } from './observed.ts';

const TABLE = 'warren_trace_1';
const TUNNEL = { address: '192.0.2.2', port: 51820, ownPort: 51821, isSealed: true };
const packet = probePacket(FLOW, 1);

function trace(changes: Partial<TraceMessage>): TraceMessage {
  return {
    ...{ family: 'inet', table: TABLE, chain: '', handle: undefined, isPolicy: true, drops: false, id: 1 },
    ...{ network: undefined, transport: undefined, inIndex: 0, outIndex: 0 },
    ...changes,
  };
}
const headers = { network: packet.subarray(0, 20), transport: packet.subarray(20, 40) };
const names = (index: number) => ({ 3: 'veth0', 4: 'warren0' })[index];

function pathOf(...messages: readonly TraceMessage[]) {
  const paths = new KernelPaths(TABLE, new FlowMatch(FLOW), TUNNEL);
  for (const message of messages) paths.add(message);
  return paths;
}

describe('a message', () => {
  const message = (...parts: readonly Uint8Array[]): Message => ({
    ...{ type: (nl.NFNL_SUBSYS_NFTABLES << 8) | nl.NFT_MSG_TRACE, flags: 0, sequence: 0 },
    body: Buffer.concat([Uint8Array.of(nl.NFPROTO_INET, 0, 0, 0), ...parts]),
  });
  const head = [text(nl.NFTA_TRACE_TABLE, 'fw'), text(nl.NFTA_TRACE_CHAIN, 'in'), be32(nl.NFTA_TRACE_ID, 7)];
  const handle = attribute(nl.NFTA_TRACE_RULE_HANDLE, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 9));

  it('of a rule has its verdict', () => {
    const verdict = (code: number) => nested(nl.NFTA_TRACE_VERDICT, be32(nl.NFTA_VERDICT_CODE, code));
    const kind = be32(nl.NFTA_TRACE_TYPE, nl.NFT_TRACETYPE_RULE);
    const dropped = decodeTrace(
      message(...head, kind, handle, verdict(nl.NF_DROP), be32(nl.NFTA_TRACE_IIF, 3)),
    );
    expect(dropped).toMatchObject({
      family: 'inet',
      table: 'fw',
      chain: 'in',
      handle: 9,
      drops: true,
      id: 7,
      inIndex: 3,
    });
    expect(decodeTrace(message(...head, kind, handle, verdict(0xffff_ffff)))).toMatchObject({ drops: false });
  });

  it('of a policy drops or not', () => {
    const kind = be32(nl.NFTA_TRACE_TYPE, nl.NFT_TRACETYPE_POLICY);
    const policy = (code: number) => decodeTrace(message(...head, kind, be32(nl.NFTA_TRACE_POLICY, code)));
    expect(policy(0)).toMatchObject({ isPolicy: true, drops: true });
    expect(policy(1)).toMatchObject({ isPolicy: true, drops: false });
  });

  it('of another kind is none', () => {
    expect(decodeTrace({ ...message(), type: 3 })).toBeUndefined();
  });
});

describe('a path', () => {
  it('has what was reached and passed, in order, and the interfaces', () => {
    const paths = pathOf(
      trace({ chain: 'prerouting_begin', ...headers, inIndex: 3 }),
      trace({ chain: 'prerouting_end', ...headers, inIndex: 3 }),
      trace({ chain: 'forward_begin', ...headers, inIndex: 3, outIndex: 4 }),
    );
    expect(paths.path('inner', names)).toEqual({
      ...{ reached: ['prerouting', 'forward'], passed: ['prerouting'] },
      ...{ inInterface: 'veth0', outInterface: 'warren0' },
    });
    expect(paths.isStopped).toBe(false);
    expect(paths.path('outer', names)).toBeNull();
  });

  it('ends with the rule that drops, which is known by the number of its packet', () => {
    const paths = pathOf(
      trace({ chain: 'forward_begin', ...headers }),
      trace({ table: 'fw', chain: 'c', isPolicy: false, handle: 5, drops: true }),
    );
    expect(paths.dropOf('inner')).toEqual({
      family: 'inet',
      table: 'fw',
      chain: 'c',
      isPolicy: false,
      handle: 5,
    });
    expect(paths.path('inner', names, 'drop')?.drop).toEqual({
      family: 'inet',
      table: 'fw',
      chain: 'c',
      isPolicy: false,
      rule: 'drop',
    });
    expect(paths.isStopped).toBe(true);
  });

  it('has the chains of the table that led to the rule', () => {
    const step = (chain: string, drops = false) =>
      trace({ table: 'warren', chain, isPolicy: false, handle: 1, drops });
    const paths = pathOf(
      trace({ table: 'warren', chain: 'source_check', ...headers }),
      trace({ table: 'fw', chain: 'c' }),
      step('policy_warren0_forward'),
      step('policy_warren0_in_wp1'),
      step('policy_warren0_deny', true),
    );
    expect(paths.dropOf('inner')?.via).toEqual([
      'source_check',
      'policy_warren0_forward',
      'policy_warren0_in_wp1',
    ]);
  });

  it('that ends between two hooks was stopped by the routing', () => {
    const paths = pathOf(
      trace({ chain: 'prerouting_begin', ...headers }),
      trace({ chain: 'prerouting_end', ...headers }),
    );
    expect(paths.isStopped).toBe(true);
  });

  it('of the tunnel is apart, and of strangers is none', () => {
    const udp = probePacket(
      { ...FLOW, source: '192.0.2.1', destination: '192.0.2.2', protocol: 'udp', port: 51820, mark: 51820 },
      1,
    );
    const other = probePacket({ ...FLOW, source: '192.0.2.1', destination: '192.0.2.3' }, 1);
    const of = (bytes: Uint8Array) => ({ network: bytes.subarray(0, 20), transport: bytes.subarray(20, 40) });
    const paths = pathOf(
      trace({ chain: 'output_begin', id: 2, ...of(udp) }),
      trace({ chain: 'output_begin', id: 3, ...of(other) }),
      trace({ chain: 'c', table: 'fw', id: 3, isPolicy: false, drops: true }),
    );
    expect(paths.path('outer', names)).toEqual({ reached: ['output'], passed: [] });
    expect(paths.path('inner', names)).toBeNull();
  });
});

describe('the table', () => {
  const script = traceScript({ table: TABLE, flow: FLOW, tunnel: TUNNEL }, true);

  it('marks the flow and its datagrams, and no more than a hundred a second', () => {
    expect(script).toContain(`add table inet ${TABLE} { flags owner; }\n`);
    const flow = 'ip daddr 10.42.2.2 meta l4proto 1 icmp type echo-request icmp id 777';
    for (const hook of ['prerouting', 'output'])
      expect(script).toContain(
        `${hook}_begin ${flow} limit rate 100/second burst 100 packets meta nftrace set 1\n`,
      );
    expect(script).toMatch(
      /output_begin ip daddr 192\.0\.2\.2 udp dport 51820 meta length \{ 476, 472, 176, 120, 92 \}/,
    );
    expect(script).toMatch(/prerouting_begin ip saddr 192\.0\.2\.2 udp dport 51821/);
  });

  it('of real packets takes them by their ends', () => {
    const live = traceScript(
      { table: TABLE, flow: { ...FLOW, protocol: 'tcp', port: 80, mark: 0, bytes: 0 }, tunnel: TUNNEL },
      false,
    );
    expect(live).toContain('ip saddr 10.42.1.2 ip daddr 10.42.2.2 meta l4proto 6 th dport 80 limit');
    expect(live).not.toMatch(/owner|meta length/);
  });

  it('has a chain at both ends of every hook, which tells where it is', () => {
    const chains = [...script.matchAll(/^add chain inet \S+ (\S+) /gm)].map(([, chain]) =>
      checkpointOf(chain!),
    );
    expect(chains).toHaveLength(10);
    expect(chains).not.toContain(undefined);
    expect(checkpointOf('sources')).toBeUndefined();
  });
});
