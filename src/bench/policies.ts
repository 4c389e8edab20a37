/**
 * `npm run bench:policies [-- --pods N --policies N --local N] [--json]`: what network policies cost an agent of a large cluster.
 * Sources in memory, a real enforcer, a real kernel, in a network namespace that ends with it: from nothing to all rules in
 * force; from a pod that comes, goes or changes to its rules in force; and for how long the event loop was blocked meanwhile.
 */
import { parseArgs } from 'node:util';
import { realClock } from '../clock.ts';
import { LinuxPolicyRules } from '../host/rules/policy-rules.ts';
import { parseAddress } from '../ip/address.ts';
import { parsePrefix } from '../ip/prefix.ts';
import { silentLogger } from '../log/logger.ts';
import { NetlinkConversation } from '../netlink/conversation.ts';
import { type AttachedPod, AttachedPods } from '../policy/attached.ts';
import { Enforcer } from '../policy/enforcer.ts';
import type { NetworkPolicy, PolicyPeer } from '../policy/schema.ts';
import type { PolicySource } from '../policy/source.ts';
import { NETLINK_NETFILTER } from '../sys/constants.ts';
import { NetlinkSocket } from '../sys/netlink-socket.ts';
import { LoopWatch } from './loop-watch.ts';
import { quantile } from './statistics.ts';

const NAMESPACES = 50;
/** Pods that share labels, as those of a deployment do. */
const APPS = 10;
const CHANGES = 200;
const POD_RANGES = ['10.42.0.0/16', 'fd42::/16'].map(parsePrefix);

const OTHERS = {
  matchExpressions: [
    {
      key: 'kubernetes.io/metadata.name',
      operator: 'In' as const,
      values: Array.from({ length: 10 }, (_, i) => `ns-${i}`),
    },
  ],
};

interface Size {
  readonly pods: number;
  readonly policies: number;
  readonly local: number;
}

interface Figures {
  readonly size: Size;
  /** Milliseconds. */
  readonly full: { readonly ms: number; readonly blockedMs: number };
  readonly change: {
    readonly p50Ms: number;
    readonly p99Ms: number;
    readonly worstMs: number;
    readonly blockedMs: number;
  };
}

/** As files are one. */
class Documents implements PolicySource {
  readonly name = 'bench';
  readonly #policies: readonly NetworkPolicy[];

  constructor(count: number) {
    this.#policies = Array.from({ length: count }, (_, i) => policyOf(i));
  }

  isReady(): boolean {
    return true;
  }
  *pods() {}
  *namespaces() {}
  policies(): readonly NetworkPolicy[] {
    return this.#policies;
  }
  onChange(): () => void {
    return () => {};
  }
}

/** Each with a label of its own besides, as stateful sets have. */
function podOf(i: number): AttachedPod {
  const [high, low] = [Math.floor(i / 250), (i % 250) + 2];
  return {
    name: `pod-${i}`,
    labels: {
      'warren.namespace': `ns-${i % NAMESPACES}`,
      app: `app-${Math.floor(i / NAMESPACES) % APPS}`,
      tier: i % 2 === 0 ? 'front' : 'back',
      pod: `pod-${i}`,
    },
    addresses: [
      parseAddress(`10.42.${high}.${low}`),
      parseAddress(`fd42:0:0:${high.toString(16)}::${low.toString(16)}`),
    ],
  };
}

/** One in ten lets ten other namespaces in; all name an app, a port, and some blocks. */
function policyOf(i: number): NetworkPolicy {
  const from: PolicyPeer[] = [
    { podSelector: { matchLabels: { app: `app-${(i * 7) % APPS}` } } },
    ...(i % 10 === 0
      ? [
          {
            namespaceSelector: OTHERS,
            podSelector: { matchLabels: { tier: 'front' } },
          },
        ]
      : []),
    { ipBlock: { cidr: '192.0.2.0/24', except: [`192.0.2.${i % 256}/32`] } },
  ];
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: `policy-${i}`, namespace: `ns-${i % NAMESPACES}` },
    spec: {
      podSelector: { matchLabels: { app: `app-${Math.floor(i / NAMESPACES) % APPS}` } },
      ingress: [{ from, ports: [{ port: 8000 + (i % 100) }, { port: 53, protocol: 'UDP' }] }],
    },
  };
}

async function measure(size: Size): Promise<Figures> {
  const list = Array.from({ length: size.pods }, (_, i) => podOf(i));
  const rules = new LinuxPolicyRules(
    { tunName: 'bench' },
    new NetlinkConversation(NetlinkSocket.open(NETLINK_NETFILTER)),
  );
  // Those of one node, of all namespaces.
  const local = list.splice(0, size.local).map((pod, i) => ({ ...pod, hostInterface: `wp${i}` }));
  const attached = new AttachedPods({ local: () => local, others: () => list, onChange: () => () => {} });
  const enforcer = new Enforcer({
    ...{
      rules,
      clock: realClock,
      log: silentLogger,
      tunName: 'bench',
      podRanges: POD_RANGES,
      onChange: () => {},
    },
    sources: [new Documents(size.policies), attached],
    local: () => attached.local(),
  });
  const [, ms, blockedMs] = await timed(() => enforcer.start());
  if (enforcer.problems().length > 0) throw new Error(enforcer.problems().join('\n'));
  const took: number[] = [];
  let worstBlockMs = 0;
  for (let i = 0; i < CHANGES; i++) {
    const at = (i * 37) % list.length;
    // Comes, has other labels, goes.
    const pod = list[at]!;
    if (i % 3 === 0) list.push(podOf(size.pods + i));
    else if (i % 3 === 1) list[at] = { ...pod, labels: { ...pod.labels, app: `app-${i % APPS}` } };
    else list.splice(at, 1);
    const [, changeMs, blocked] = await timed(() => enforcer.settled());
    took.push(changeMs);
    worstBlockMs = Math.max(worstBlockMs, blocked);
  }
  await enforcer.stop();
  took.sort((a, b) => a - b);
  return {
    size,
    full: { ms, blockedMs },
    change: {
      p50Ms: quantile(took, 0.5),
      p99Ms: quantile(took, 0.99),
      worstMs: took.at(-1)!,
      blockedMs: worstBlockMs,
    },
  };
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number, number]> {
  const watch = new LoopWatch();
  const beganMs = performance.now();
  const result = await work();
  const ms = performance.now() - beganMs;
  return [result, ms, watch.stop()];
}

function text({ size, full, change }: Figures): string {
  const round = (ms: number) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return [
    `${size.pods} pods, ${size.policies} policies, ${size.local} pods on this node`,
    `all rules in force       ${round(full.ms)}, event loop blocked for ${round(full.blockedMs)} at most`,
    `one pod's change         p50 ${round(change.p50Ms)}, p99 ${round(change.p99Ms)}, worst ${round(change.worstMs)}, ` +
      `event loop blocked for ${round(change.blockedMs)} at most`,
    '',
  ].join('\n');
}

const { values } = parseArgs({
  options: {
    pods: { type: 'string', default: '10000' },
    policies: { type: 'string', default: '1000' },
    local: { type: 'string', default: '100' },
    json: { type: 'boolean', default: false },
  },
});
const figures = await measure({
  pods: Number(values.pods),
  policies: Number(values.policies),
  local: Number(values.local),
});
process.stdout.write(values.json ? `${JSON.stringify(figures, null, 2)}\n` : text(figures));
