/**
 * The table by which nftables tells of the flow's packets, as nft takes it: a rule first of all marks them, and two chains without
 * rules around everything else in each hook tell that a packet has come there, and has passed.
 *
 *     table inet warren_trace_ID { flags owner }     the kernel removes it with the nft that made it (Linux 5.12)
 *       chain prerouting, output                     mark, before all others
 *       chain HOOK_end                               behind all others, also of `input`, `forward` and `postrouting`
 *       chain HOOK_begin                             of `input` and `forward` and `postrouting`
 */

import { protocolNumber } from './flow-match.ts';
import { type Flow, HOOKS, type Hook } from './model.ts';
import { outerLengths, type Tunnel } from './outer-match.ts';

export const TRACE_TABLE_PREFIX = 'warren_trace_';

const FIRST = -2_000_000;
const LAST = 2_000_000;
/** Packets that are told of: a flow's own are few, but nobody knows what else looks like them. */
const LIMIT = 'limit rate 100/second burst 100 packets';
const MARKING: readonly Hook[] = ['prerouting', 'output'];

export interface TraceRules {
  readonly table: string;
  readonly flow: Flow;
  readonly tunnel: Tunnel | undefined;
}

export function traceScript({ table, flow, tunnel }: TraceRules, isOwned: boolean): string {
  const name = `inet ${table}`;
  const lines = [`add table ${name}${isOwned ? ' { flags owner; }' : ''}`];
  const chain = (hook: Hook, suffix: string, priority: number) =>
    lines.push(
      `add chain ${name} ${hook}${suffix} { type filter hook ${hook} priority ${priority}; policy accept; }`,
    );
  for (const hook of HOOKS) {
    chain(hook, '_end', LAST);
    if (!MARKING.includes(hook)) chain(hook, '_begin', FIRST);
  }
  for (const hook of MARKING) {
    chain(hook, '_begin', FIRST);
    for (const match of [innerMatch(flow), ...(tunnel ? [outerMatch(flow, tunnel, hook)] : [])])
      lines.push(`add rule ${name} ${hook}_begin ${match} ${LIMIT} meta nftrace set 1`);
  }
  return `${lines.join('\n')}\n`;
}

/** Of a chain of that table: which hook it is in, and at which end. */
export function checkpointOf(chain: string): { readonly hook: Hook; readonly isEnd: boolean } | undefined {
  const [, hook, end] = /^([a-z]+)_(begin|end)$/.exec(chain) ?? [];
  const found = HOOKS.find((one) => one === hook);
  return found && { hook: found, isEnd: end === 'end' };
}

/** A packet that has a mark is known by it, from whatever source it was sent. */
function innerMatch({ family, source, destination, protocol, port, mark, ...rest }: Flow): string {
  const ip = family === 4 ? 'ip' : 'ip6';
  const from = mark === 0 ? `${ip} saddr ${source} ` : '';
  const number = protocolNumber({ family, protocol, ...rest });
  const start = `${from}${ip} daddr ${destination} meta l4proto ${number}`;
  if (protocol === 'icmp') {
    const icmp = family === 4 ? 'icmp' : 'icmpv6';
    return `${start} ${icmp} type echo-request${mark === 0 ? '' : ` ${icmp} id ${mark}`}`;
  }
  return `${start} th dport ${port}${mark === 0 ? '' : ` th sport ${mark}`}`;
}

/** What leaves goes to the other node's port, what comes to this one's. */
function outerMatch(flow: Flow, tunnel: Tunnel, hook: Hook): string {
  const ip = tunnel.address.includes(':') ? 'ip6' : 'ip';
  const lengths = outerLengths(flow, tunnel);
  const isOut = hook === 'output';
  return [
    `${ip} ${isOut ? 'daddr' : 'saddr'} ${tunnel.address}`,
    `udp dport ${isOut ? tunnel.port : tunnel.ownPort}`,
    ...(lengths.length === 0 ? [] : [`meta length { ${[...new Set(lengths)].join(', ')} }`]),
  ].join(' ');
}
