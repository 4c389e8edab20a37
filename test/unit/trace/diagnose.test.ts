/** What a trace says of what two nodes have seen: each fault has its own name, and a way that is whole has none. */
import { describe, expect, it } from 'vitest';
import { diagnose } from '../../../src/trace/diagnose.ts';
import type { Cause, NodeFacts, Sighting, TraceInput } from '../../../src/trace/model.ts';
import { type Changes, kernel, link, observed, rule, seen } from './observed.ts';

function factsOf(own: 'source' | 'destination'): NodeFacts {
  return (observed()[own] as { facts: NodeFacts }).facts;
}
const [sourceFacts, destinationFacts] = [factsOf('source'), factsOf('destination')];
const peer = sourceFacts.owner as Exclude<NodeFacts['owner'], 'self' | null>;
const pod = sourceFacts.pod!;
const noRoute = { isFound: false, problem: 'no-route', text: 'Network is unreachable' } as const;

interface Fault {
  readonly what: string;
  readonly cause: Cause;
  readonly node: string | null;
  readonly says: RegExp;
  readonly changes: Changes;
  readonly isCertain?: false;
}

const sent = (error: string) => ({ sent: { error, source: '10.42.1.2' } });
const dropped = (reason: string, isOurs = true) => ({ drops: [{ reason, isOurs }] });
const handshake = (point: 'underlay-out' | 'underlay-in'): Sighting => ({
  point,
  what: 'handshake',
  atUs: 1,
});

const FAULTS: readonly Fault[] = [
  {
    ...{
      what: "the pod's interface is down",
      cause: 'pod-interface-down',
      node: 'node-a',
      says: /eth0 in the pod web is down; .*link set eth0 up/,
    },
    changes: {
      until: 'sent',
      source: sent('ENETUNREACH'),
      sourceFacts: { pod: { ...pod, inner: link('eth0', { isUp: false }) } },
    },
  },
  {
    ...{
      what: "the pod's address is gone",
      cause: 'pod-address-missing',
      node: 'node-a',
      says: /pod web does not have its address 10\.42\.1\.2/,
    },
    changes: {
      until: 'sent',
      source: sent('EADDRNOTAVAIL'),
      sourceFacts: { pod: { ...pod, addresses: [] } },
    },
  },
  {
    ...{
      what: "the pod's default route is gone",
      cause: 'pod-route-missing',
      node: 'node-a',
      says: /pod web has no route to 10\.42\.2\.2/,
    },
    changes: { until: 'sent', source: sent('ENETUNREACH'), sourceFacts: { pod: { ...pod, route: noRoute } } },
  },
  {
    ...{
      what: 'a default route that was put back meanwhile',
      cause: 'pod-route-missing',
      node: 'node-a',
      says: /pod web had no route to 10\.42\.2\.2 when it sent, and has one now; .*trace again/,
    },
    changes: { until: 'sent', source: sent('ENETUNREACH') },
  },
  {
    ...{
      what: "the pod's own firewall",
      cause: 'pod-firewall',
      node: 'node-a',
      says: /firewall within the pod web/,
    },
    changes: { until: 'sent', source: sent('EPERM') },
  },
  {
    ...{
      what: 'more than the interface takes',
      cause: 'too-big',
      node: 'node-a',
      says: /9000 bytes are more than the interface of the pod web takes \(1440\)/,
    },
    changes: { until: 'sent', source: sent('EMSGSIZE'), flow: { bytes: 9000 } },
  },
  {
    ...{
      what: "the pod's namespace is gone",
      cause: 'pod-missing',
      node: 'node-a',
      says: /namespace of the pod web is gone/,
    },
    changes: {
      until: 'sent',
      source: sent('ENOENT_NETNS'),
      sourceFacts: { pod: { ...pod, isThere: false } },
    },
  },
  {
    ...{
      what: 'a source that is not the pod’s',
      cause: 'source-check',
      node: 'node-a',
      says: /check of sources drops it: 10\.42\.1\.2/,
    },
    changes: {
      until: 'host-end',
      source: { inner: kernel(['prerouting'], undefined, rule('warren', 'sources')) },
    },
  },
  {
    ...{
      what: 'a source that the node does not answer',
      cause: 'source-check',
      node: 'node-a',
      says: /does not answer the ARP of 10\.66\.0\.1, which is no address of the pod web/,
    },
    changes: {
      until: 'sent',
      source: { sent: { error: null, source: '10.66.0.1' } },
      sourceFacts: { pod: { ...pod, neighbour: 'FAILED' } },
    },
  },
  {
    ...{
      what: 'a gateway that does not answer',
      cause: 'pod-neighbour',
      node: 'node-a',
      says: /next hop 10\.42\.1\.1/,
    },
    changes: {
      until: 'sent',
      sourceFacts: {
        pod: {
          ...pod,
          neighbour: 'FAILED',
          route: { isFound: true, isLocal: false, device: 'eth0', gateway: '10.42.1.1' },
        },
      },
    },
  },
  {
    ...{
      what: 'a rule that answers in the name of the pod',
      cause: 'firewall',
      node: 'node-b',
      says: /rule "reject"/,
    },
    changes: {
      flow: { protocol: 'tcp', port: 80 },
      destination: {
        inner: kernel(['prerouting', 'forward'], 'veth-db', rule('fw', 'c', 'reject')),
        sightings: [
          ...seen('underlay-in', 'out-of-tun'),
          { point: 'to-pod', what: 'answer', answer: 'reset', atUs: 3 },
        ],
      },
    },
  },
  {
    ...{
      what: 'networks that are apart',
      cause: 'isolation',
      node: 'node-a',
      says: /networks of 10\.42\.1\.2 and 10\.42\.2\.2/,
    },
    changes: {
      until: 'host-end',
      source: {
        inner: kernel(['prerouting', 'forward'], 'warren0', rule('warren', 'networks_warren0_from_1')),
      },
    },
  },
  {
    ...{
      what: 'a policy of the sender',
      cause: 'policy',
      node: 'node-a',
      says: /a policy of 10\.42\.1\.2 does not let it send that to 10\.42\.2\.2 .*`warren policy explain 10\.42\.1\.2 10\.42\.2\.2`/,
    },
    changes: {
      until: 'host-end',
      source: {
        inner: kernel(['prerouting', 'forward'], 'warren0', {
          ...rule('warren', 'policy_warren0_deny'),
          via: ['policy_warren0_forward', 'policy_warren0_out_wp1'],
        }),
      },
    },
  },
  {
    ...{
      what: 'a policy of the receiver',
      cause: 'policy',
      node: 'node-b',
      says: /a policy of 10\.42\.2\.2 does not let that in from 10\.42\.1\.2/,
    },
    changes: {
      until: 'out-of-tun',
      destination: {
        inner: kernel(['prerouting', 'forward'], 'veth-db', {
          ...rule('warren', 'policy_warren0_deny'),
          via: ['policy_warren0_forward', 'policy_warren0_in_wp2'],
        }),
      },
    },
  },
  {
    ...{
      what: 'a firewall in the forward chain of the sender',
      cause: 'firewall',
      node: 'node-a',
      says: /hook forward: the rule "tcp dport 80 drop" of the chain inet fw out/,
    },
    changes: {
      until: 'host-end',
      source: { inner: kernel(['prerouting', 'forward'], 'warren0', rule('fw', 'out', 'tcp dport 80 drop')) },
    },
  },
  {
    ...{
      what: 'a firewall that nftables does not show',
      cause: 'firewall',
      node: 'node-a',
      says: /^.*probably a rule that nftables does not show drops the packet in the hook forward; see `iptables-legacy/,
    },
    changes: {
      until: 'host-end',
      source: { inner: { reached: ['prerouting', 'forward'], passed: ['prerouting'] } },
    },
    isCertain: false,
  },
  {
    ...{
      what: 'a route of the host that is in the way',
      cause: 'route-missing',
      node: 'node-a',
      says: /throws away what goes to 10\.42\.2\.2/,
    },
    changes: {
      until: 'host-end',
      source: { inner: kernel(['prerouting'], undefined) },
      sourceFacts: { route: { isFound: false, problem: 'blackhole', text: '' } },
    },
  },
  {
    ...{
      what: 'a route of the host to elsewhere',
      cause: 'route-elsewhere',
      node: 'node-a',
      says: /sends it to eth0 in place of warren0/,
    },
    changes: {
      until: 'host-end',
      source: { inner: kernel(['prerouting', 'forward', 'postrouting'], 'eth0') },
    },
  },
  {
    ...{
      what: 'an address that is not of the overlay',
      cause: 'route-elsewhere',
      node: 'node-a',
      says: /is no address of the overlay: the kernel sends it on by eth0, where no trace follows$/,
    },
    changes: {
      until: 'host-end',
      source: { inner: kernel(['prerouting', 'forward', 'postrouting'], 'eth0') },
      sourceFacts: { owner: null },
      input: {
        destination: null,
        to: { name: '198.51.100.7', address: '198.51.100.7', node: null, isAttached: false },
      },
    },
  },
  {
    ...{ what: 'forwarding is off', cause: 'forwarding-off', node: 'node-a', says: /ip_forward=1/ },
    changes: {
      until: 'host-end',
      source: { inner: kernel(['prerouting'], undefined) },
      sourceFacts: { forwards: false, route: { isFound: false, problem: 'unreachable', text: '' } },
    },
  },
  {
    ...{
      what: 'no route, where nftables cannot be asked',
      cause: 'route-missing',
      node: 'node-a',
      says: /no route to 10\.42\.2\.2/,
    },
    changes: {
      until: 'host-end',
      source: { inner: null, blind: 'nft is not installed' },
      sourceFacts: { route: noRoute },
    },
  },
  {
    ...{
      what: 'the TUN device of the sender is down',
      cause: 'tun-down',
      node: 'node-a',
      says: /TUN device warren0 is down/,
    },
    changes: {
      until: 'host-end',
      sourceFacts: { tun: link('warren0', { isUp: false }) },
      source: { inner: kernel(['prerouting', 'forward'], 'eth1') },
    },
  },
  {
    ...{
      what: 'a lease that is lost',
      cause: 'no-owner',
      node: 'node-a',
      says: /no node has a subnet with 10\.42\.2\.2/,
    },
    changes: {
      until: 'into-tun',
      source: dropped('outbound-no-route'),
      sourceFacts: { owner: null },
      input: {
        destination: null,
        to: { name: '10.42.2.2', address: '10.42.2.2', node: null, isAttached: false },
      },
    },
  },
  {
    ...{
      what: 'a peer that was revoked',
      cause: 'peer-unknown',
      node: 'node-a',
      says: /node-b is not among the nodes that this one forwards to: it is revoked; `warren node approve node-b`/,
    },
    changes: {
      until: 'into-tun',
      source: dropped('outbound-no-route'),
      sourceFacts: { owner: null, other: { status: 'alive', admission: 'revoked' } },
    },
  },
  {
    ...{
      what: 'a peer that was forgotten as dead meanwhile',
      cause: 'peer-dead',
      node: 'node-b',
      says: /node-b is dead, as node-a knows/,
    },
    changes: {
      until: 'into-tun',
      source: dropped('outbound-no-route'),
      sourceFacts: { owner: null, other: { status: 'dead', admission: 'approved' } },
    },
  },
  {
    ...{
      what: 'a node that is cut off, to which all others are dead',
      cause: 'underlay-link',
      node: 'node-a',
      says: /eth0, the interface of the underlay, is down/,
    },
    changes: {
      until: 'into-tun',
      source: dropped('outbound-no-route'),
      sourceFacts: {
        owner: null,
        other: { status: 'dead', admission: 'approved' },
        underlay: { link: link('eth0', { isUp: false }), route: null, neighbour: null, agent: null },
      },
    },
  },
  {
    ...{
      what: 'an agent that hangs',
      cause: 'peer-dead',
      node: 'node-b',
      says: /agent of node-b takes connections and does not answer/,
    },
    changes: {
      until: 'underlay-out',
      sourceFacts: { underlay: { ...sourceFacts.underlay!, agent: 'open' } },
      input: { destination: { node: 'node-b', missing: 'no answer' } },
    },
  },
  {
    ...{
      what: 'a peer of another encapsulation',
      cause: 'peer-unreachable',
      node: 'node-a',
      says: /node-b has it, and is sent nothing: it speaks vxlan-gpe/,
    },
    changes: {
      until: 'into-tun',
      source: dropped('outbound-no-route'),
      sourceFacts: { owner: { ...peer, unreachable: 'it speaks vxlan-gpe' } },
    },
  },
  {
    ...{
      what: 'longer than the path',
      cause: 'too-big',
      node: 'node-a',
      says: /1440 bytes are too long for the path to node-b, which carries 1340/,
    },
    changes: {
      until: 'into-tun',
      flow: { bytes: 1440 },
      source: dropped('outbound-too-big'),
      sourceFacts: { owner: { ...peer, pathMtu: 1340 } },
    },
  },
  {
    ...{ what: 'a full queue', cause: 'queue-full', node: 'node-a', says: /queue of warren0 is full/ },
    changes: { until: 'into-tun', source: { grown: { 'outbound-queue-overflow': 4 } } },
  },
  {
    ...{
      what: 'a thread that hangs',
      cause: 'path-stuck',
      node: 'node-a',
      says: /a thread of the packet path does not answer/,
    },
    changes: {
      until: 'into-tun',
      sourceFacts: { stuckWorkers: 1 },
      source: { grown: { 'outbound-queue-overflow': 4 } },
    },
  },
  {
    ...{
      what: 'a source that is not of the node',
      cause: 'foreign-source',
      node: 'node-a',
      says: /10\.99\.0\.1 is not in this node's subnets \(10\.42\.1\.0\/24\)/,
    },
    changes: {
      until: 'into-tun',
      source: { ...dropped('outbound-foreign-source'), sent: { error: null, source: '10.99.0.1' } },
    },
  },
  {
    ...{
      what: 'a wrong key',
      cause: 'no-session',
      node: 'node-b',
      says: /no session with node-b: it refuses the handshakes of node-a; the keys/,
    },
    changes: {
      until: 'into-tun',
      source: { sightings: [...seen('host-end', 'into-tun'), handshake('underlay-out')] },
      sourceFacts: { owner: { ...peer, hasSession: false } },
      destination: {
        sightings: [handshake('underlay-in')],
        grown: { 'inbound-handshake-refused': 2 },
      },
    },
  },
  {
    ...{
      what: 'a static peer that does not answer handshakes',
      cause: 'no-session',
      node: 'node-a',
      says: /no session with old, which does not answer handshakes; .*publicKey/,
    },
    changes: {
      until: 'into-tun',
      source: { sightings: [...seen('host-end', 'into-tun'), handshake('underlay-out')] },
      sourceFacts: { owner: { ...peer, name: 'old', kind: 'static', status: 'static', hasSession: false } },
      input: { destination: null },
    },
  },
  {
    ...{
      what: 'handshakes that do not come',
      cause: 'underlay-lost',
      node: null,
      says: /does not come to node-b/,
    },
    changes: {
      until: 'into-tun',
      source: { sightings: [...seen('host-end', 'into-tun'), handshake('underlay-out')] },
      sourceFacts: { owner: { ...peer, hasSession: false } },
    },
  },
  {
    ...{
      what: 'a firewall on the sender',
      cause: 'firewall',
      node: 'node-a',
      says: /drops the tunnel's datagram in the hook output: the rule "udp dport 51820 drop"/,
    },
    changes: {
      until: 'into-tun',
      source: {
        ...dropped('outbound-send-failed', false),
        outer: kernel(['output'], 'eth0', rule('fw', 'out', 'udp dport 51820 drop')),
      },
    },
  },
  {
    ...{
      what: 'no route on the underlay',
      cause: 'underlay-route',
      node: 'node-a',
      says: /no route to 192\.0\.2\.2:51820, the tunnel's end of node-b/,
    },
    changes: {
      until: 'into-tun',
      source: dropped('outbound-send-failed', false),
      sourceFacts: { underlay: { ...sourceFacts.underlay!, route: noRoute } },
      input: { destination: { node: 'node-b', missing: 'no answer' } },
    },
  },
  {
    ...{
      what: 'the link of the underlay is down',
      cause: 'underlay-link',
      node: 'node-a',
      says: /eth0, the interface of the underlay, is down/,
    },
    changes: {
      until: 'into-tun',
      sourceFacts: {
        underlay: { ...sourceFacts.underlay!, link: link('eth0', { isUp: false }), route: noRoute },
      },
      input: { destination: { node: 'node-b', missing: 'no answer' } },
    },
  },
  {
    ...{ what: 'a host that is gone', cause: 'underlay-neighbour', node: 'node-a', says: /neighbour FAILED/ },
    changes: {
      until: 'underlay-out',
      sourceFacts: { underlay: { ...sourceFacts.underlay!, neighbour: 'FAILED' } },
      input: { destination: { node: 'node-b', missing: 'no answer' } },
    },
  },
  {
    ...{
      what: 'a peer that is dead',
      cause: 'peer-dead',
      node: 'node-b',
      says: /node-b is dead, as node-a knows/,
    },
    changes: {
      until: 'underlay-out',
      sourceFacts: { owner: { ...peer, status: 'dead' } },
      input: { destination: { node: 'node-b', missing: 'no answer' } },
    },
  },
  {
    ...{
      what: 'an agent that does not run',
      cause: 'peer-dead',
      node: 'node-b',
      says: /agent of node-b does not run, though its host answers/,
    },
    changes: {
      until: 'underlay-out',
      sourceFacts: { underlay: { ...sourceFacts.underlay!, agent: 'refused' } },
      input: { destination: { node: 'node-b', missing: 'no answer' } },
    },
  },
  {
    ...{
      what: 'a peer of another version',
      cause: 'node-silent',
      node: 'node-b',
      says: /probably it leaves node-a, and node-b does not say what becomes of it: it does not know trace\.node/,
    },
    changes: {
      until: 'underlay-out',
      input: { destination: { node: 'node-b', missing: 'it does not know trace.node', hasAnswered: true } },
    },
    isCertain: false,
  },
  {
    ...{
      what: 'a peer that says nothing',
      cause: 'peer-dead',
      node: 'node-b',
      says: /probably the agent or the host of node-b is down/,
    },
    changes: {
      until: 'underlay-out',
      sourceFacts: { underlay: { ...sourceFacts.underlay!, agent: 'silent' } },
      input: { destination: { node: 'node-b', missing: 'no answer' } },
    },
    isCertain: false,
  },
  {
    ...{
      what: 'a hole in the path',
      cause: 'mtu-hole',
      node: null,
      says: /between node-a and node-b 1440 bytes are lost without a word, and 100 arrive/,
    },
    changes: {
      until: 'underlay-out',
      flow: { bytes: 1440 },
      input: { smaller: { bytes: 100, hasArrived: true } },
    },
  },
  {
    ...{
      what: 'a firewall on the way',
      cause: 'underlay-lost',
      node: null,
      says: /leaves node-a by eth0, and does not come to node-b/,
    },
    changes: { until: 'underlay-out', input: { smaller: { bytes: 100, hasArrived: false } } },
  },
  {
    ...{
      what: 'a firewall on the receiver',
      cause: 'firewall',
      node: 'node-b',
      says: /drops the tunnel's datagram in the hook input/,
    },
    changes: {
      until: 'underlay-in',
      destination: {
        outer: kernel(['prerouting', 'input'], undefined, rule('fw', 'in', 'udp dport 51820 drop')),
      },
    },
  },
  {
    ...{
      what: 'a receiver that does not know the sender',
      cause: 'peer-unknown',
      node: 'node-b',
      says: /does not know node-a/,
    },
    changes: { until: 'underlay-in', destination: dropped('inbound-unknown-source', false) },
  },
  {
    ...{
      what: 'a receiver that has other keys',
      cause: 'no-session',
      node: 'node-b',
      says: /no keys for what node-a sends/,
    },
    changes: { until: 'underlay-in', destination: dropped('inbound-no-session', false) },
  },
  {
    ...{
      what: 'a receiver that has not the subnet',
      cause: 'not-local',
      node: 'node-b',
      says: /10\.42\.2\.2 is in none of its subnets \(10\.42\.2\.0\/24\)/,
    },
    changes: { until: 'underlay-in', destination: dropped('inbound-not-local') },
  },
  {
    ...{
      what: 'a receiver that knows another owner of the source',
      cause: 'foreign-source',
      node: 'node-b',
      says: /10\.42\.1\.2 is in no subnet of node-a, as node-b knows/,
    },
    changes: { until: 'underlay-in', destination: dropped('inbound-foreign-source') },
  },
  {
    ...{ what: 'a socket without room', cause: 'queue-full', node: 'node-b', says: /socket has no room/ },
    changes: { until: 'underlay-in', destination: { grown: { 'inbound-socket-overflow': 1 } } },
  },
  {
    ...{
      what: 'the TUN device of the receiver is down',
      cause: 'tun-down',
      node: 'node-b',
      says: /warren0 is down/,
    },
    changes: { until: 'underlay-in', destinationFacts: { tun: link('warren0', { isUp: false }) } },
  },
  {
    ...{
      what: 'the reverse path filter',
      cause: 'reverse-path',
      node: 'node-b',
      says: /reverse path filter of warren0 drops it: answers to 10\.42\.1\.2 would leave by eth1/,
    },
    changes: {
      until: 'out-of-tun',
      destination: { inner: kernel(['prerouting'], undefined), grown: { 'reverse-path': 1 } },
      destinationFacts: {
        route: { isFound: false, problem: 'other', text: 'Invalid argument' },
        reversePath: { in: 'warren0', back: 'eth1' },
      },
    },
  },
  {
    ...{
      what: 'a firewall in the forward chain of the receiver',
      cause: 'firewall',
      node: 'node-b',
      says: /the policy of the chain inet fw fwd/,
    },
    changes: {
      until: 'out-of-tun',
      destination: {
        inner: kernel(['prerouting', 'forward'], 'veth-db', {
          family: 'inet',
          table: 'fw',
          chain: 'fwd',
          isPolicy: true,
        }),
      },
    },
  },
  {
    ...{
      what: 'a WireGuard device that is away',
      cause: 'lost',
      node: 'node-b',
      says: /probably it is lost behind warren0: .* WireGuard device/,
    },
    changes: {
      until: 'out-of-tun',
      destination: { inner: kernel(['prerouting', 'forward', 'postrouting'], 'warren0') },
      destinationFacts: { pod: null },
    },
    isCertain: false,
  },
  {
    ...{
      what: 'no such pod',
      cause: 'pod-not-attached',
      node: 'node-b',
      says: /no pod there has 10\.42\.2\.2/,
    },
    changes: {
      until: 'out-of-tun',
      destination: { inner: kernel(['prerouting'], undefined) },
      destinationFacts: { pod: null, route: { isFound: false, problem: 'unreachable', text: '' } },
      input: { to: { name: '10.42.2.2', address: '10.42.2.2', node: 'node-b', isAttached: false } },
    },
  },
  {
    ...{
      what: "the receiving pod's interface is down",
      cause: 'pod-interface-down',
      node: 'node-b',
      says: /eth0 in the pod db is down/,
    },
    changes: {
      until: 'out-of-tun',
      destinationFacts: { pod: { ...destinationFacts.pod!, inner: link('eth0', { isUp: false }) } },
    },
  },
  {
    ...{
      what: "the receiving pod's address is gone",
      cause: 'pod-address-missing',
      node: 'node-b',
      says: /pod db does not have its address/,
    },
    changes: { until: 'to-pod', destinationFacts: { pod: { ...destinationFacts.pod!, addresses: [] } } },
  },
  {
    ...{
      what: 'a node that does not answer',
      cause: 'node-silent',
      node: 'node-a',
      says: /nothing could be sent from web\.node-a: no answer/,
    },
    changes: { input: { source: { node: 'node-a', missing: 'no answer' } } },
  },
];

function judge(changes: Changes) {
  return diagnose(observed(changes));
}

describe('a fault', () => {
  it.each(FAULTS)('$what: $cause', ({ cause, node, says, changes, isCertain = true }) => {
    const { verdict, line, arrives, steps } = judge(changes);
    expect({ cause: verdict.cause, node: verdict.node, arrives, isCertain: verdict.isCertain }).toEqual({
      cause,
      node,
      arrives: false,
      isCertain,
    });
    expect(line).toMatch(says);
    expect(line).toMatch(/: dies\b/);
    expect(line.includes('probably')).toBe(!isCertain);
    expect(line).not.toContain('\n');
    expect(steps.filter(({ outcome }) => outcome === 'died')).toHaveLength(1);
  });

  it('of more than twenty kinds has a name of its own', () => {
    expect(new Set(FAULTS.map(({ cause }) => cause)).size).toBeGreaterThanOrEqual(20);
  });

  it('that is there does not matter to a packet that arrives', () => {
    const { verdict } = judge({
      sourceFacts: { forwards: false, route: noRoute, owner: null },
      destinationFacts: { tun: null },
    });
    expect(verdict).toMatchObject({ arrives: true, cause: 'arrives' });
  });
});

describe('a packet that arrives', () => {
  const arrived: readonly [string, Changes, Cause, string][] = [
    ['is answered', {}, 'arrives', 'web.node-a -> db.node-b (ICMP): arrives, and is answered'],
    [
      'by UDP need not be',
      { until: 'to-pod', flow: { protocol: 'udp', port: 53 } },
      'arrives',
      'web.node-a -> db.node-b (UDP 53): arrives',
    ],
  ];
  it.each(arrived)('%s', (_, changes, cause, line) => {
    const report = judge(changes);
    expect(report.verdict).toMatchObject({ arrives: true, cause });
    expect(report.line).toBe(line);
    expect(report.steps.every(({ outcome }) => outcome === 'passed')).toBe(true);
  });

  it('at a port that is closed says so', () => {
    const reset: Sighting = { point: 'to-pod', what: 'answer', answer: 'reset', atUs: 3 };
    const noPort: Sighting = {
      point: 'to-pod',
      what: 'error',
      error: { from: '10.42.2.2', kind: 'no-port' },
      atUs: 3,
    };
    for (const [protocol, sighting] of [
      ['tcp', reset],
      ['udp', noPort],
    ] as const) {
      const { verdict, line } = judge({
        ...{ until: 'to-pod', flow: { protocol, port: 81 } },
        source: { sightings: [...seen('host-end', 'into-tun', 'underlay-out'), sighting] },
      });
      expect(verdict).toMatchObject({ arrives: true, cause: 'port-closed' });
      expect(line).toContain(`nothing listens on ${protocol.toUpperCase()} port 81 there`);
    }
  });

  it('and is not answered: that, and where to look', () => {
    expect(judge({ until: 'to-pod' }).verdict).toMatchObject({ arrives: true, cause: 'no-answer' });
  });

  it('whose answer is lost on the way back', () => {
    const back: Sighting = { point: 'to-pod', what: 'answer', answer: 'echo-reply', atUs: 3 };
    const { verdict, line } = judge({
      until: 'to-pod',
      destination: { sightings: [...seen('underlay-in', 'out-of-tun', 'to-pod'), back] },
    });
    expect(verdict).toMatchObject({ arrives: true, cause: 'answer-lost' });
    expect(line).toContain('`warren trace db.node-b web.node-a`');
  });

  it('on the same node goes through no tunnel', () => {
    const input: Changes = {
      until: 'host-end',
      source: {
        role: 'both',
        sightings: [
          ...seen('host-end', 'to-pod'),
          { point: 'to-pod', what: 'answer', answer: 'echo-reply', atUs: 3 },
        ],
      },
      sourceFacts: { owner: 'self' },
      input: { destination: null },
    };
    const { verdict, steps } = judge(input);
    expect(verdict).toMatchObject({ arrives: true, cause: 'arrives' });
    expect(steps.map(({ what }) => what)).not.toContain('packet path');
  });
});

describe('a sealed datagram', () => {
  it('that came to the other node is known by its number, not by its length', () => {
    const another = seen('underlay-in').map((one) => ({ ...one, tag: '7:2' }));
    const { verdict } = judge({ until: 'underlay-out', destination: { sightings: another } });
    expect(verdict.cause).toBe('underlay-lost');
  });
});

describe('real packets', () => {
  it('that do not come: nothing is claimed', () => {
    const input: Partial<TraceInput> = { isLive: true };
    const { verdict, line } = judge({ until: 'sent', source: { sent: null }, input });
    expect(verdict).toMatchObject({ arrives: false, cause: 'nothing-seen', isCertain: true });
    expect(line).not.toContain('dies');
  });
});
