/**
 * Whether a cluster's network is what Kubernetes asks of one: a web service on every node, clients on every node and on the
 * nodes themselves, and who sees whom under which address.
 */
import { parseAddress } from '../../ip/address.ts';
import { parsePrefix, prefixContains } from '../../ip/prefix.ts';
import type { Cluster } from './cluster.ts';
import { BUSYBOX_IMAGE } from './images.ts';
import type { KubernetesMachine } from './machine.ts';
import { type ClusterPod, podsOf } from './pods.ts';

const NAMESPACE = 'lab';
const NODE_PORT = 30080;
const HOST_PORT = 8088;
/** kube-proxy's health, on a node's own address. */
const PROXY_PORT = 10_256;
/** Until kube-proxy has heard of the pods. */
const SERVICE_TIMEOUT_MS = 60_000;
const TRY_SECONDS = 10;
/** Of those that are to be refused: a refused one waits it out. */
const DENIED_SECONDS = 2;
/** A policy is in force on all nodes by then, also the first one, for which pods are listed, and on a machine that is busy. */
const POLICY_MS = 30_000;

export interface Check {
  readonly what: string;
  readonly tried: number;
  /** What went wrong, a line each. */
  readonly failures: readonly string[];
}

/** `address` is asked; `sees` is who the answer must come from and `as` under which address it must have seen the client. */
interface Target {
  readonly name: string;
  readonly url: string;
  readonly as?: string;
}

/** Deploys what it needs and asks; a check that fails is a result. Throws LAB_COMMAND_FAILED where it cannot ask. */
export async function checkCluster(cluster: Cluster, onProgress: (doing: string) => void): Promise<Check[]> {
  const { control, machines } = cluster;
  onProgress('deploying a web service and clients');
  await control.told(['apply', '-f', '-'], {
    input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: workload() }),
  });
  for (const name of ['web', 'client']) await cluster.rolledOut(NAMESPACE, name);
  const [webs, clients] = [
    await podsOf(cluster, NAMESPACE, 'web'),
    await podsOf(cluster, NAMESPACE, 'client'),
  ];
  await cluster.until('kube-proxy does not hear of the pods', SERVICE_TIMEOUT_MS, async () => {
    const counts = await Promise.all(machines.map(countEndpoints));
    return counts.every((count) => count === webs.length);
  });
  const clusterIp = await control.told([
    '-n',
    NAMESPACE,
    'get',
    'service',
    'web',
    '-o=jsonpath={.spec.clusterIP}',
  ]);
  const service = { name: 'the service', url: `http://${clusterIp}/cgi-bin/who` };
  const nodePorts = machines.map(({ name, address }) => ({
    name: `port ${NODE_PORT} of ${name}`,
    url: `http://${address}:${NODE_PORT}/cgi-bin/who`,
  }));
  const hostPorts = machines.map(({ name, address }) => ({
    name: `port ${HOST_PORT} of the pod on ${name}`,
    url: `http://${address}:${HOST_PORT}/cgi-bin/who`,
  }));
  const toWebs = (as?: string) =>
    webs.map(({ name, address }) => ({ name, url: `http://${address}:8080/cgi-bin/who`, ...(as && { as }) }));
  const toNodes = machines.map(({ name, address }) => ({
    name,
    url: `http://${address}:${PROXY_PORT}/healthz`,
  }));

  const checks: Check[] = [await checkRanges(cluster, [...webs, ...clients])];
  const check = async (what: string, asks: readonly Promise<string[]>[], tried: number) => {
    onProgress(what);
    checks.push({ what, tried, failures: (await Promise.all(asks)).flat() });
  };
  const fromPods = (targets: (client: ClusterPod) => readonly Target[]) =>
    clients.map((client) => ask(cluster, client, targets(client)));
  const fromNodes = (targets: readonly Target[]) =>
    machines.map(async (machine) => {
      const { stdout, stderr } = await machine.exec(['sh', '-c', script(targets)]);
      return judge(machine.name, targets, stdout, stderr);
    });
  const pairs = clients.length * webs.length;
  await check(
    'pod to pod, and who is seen',
    fromPods(({ address }) => toWebs(address)),
    pairs,
  );
  await check(
    'pod to node',
    fromPods(() => toNodes),
    pairs,
  );
  await check('node to pod', fromNodes(toWebs()), pairs);
  await check(
    'pod to service',
    fromPods(() => [service, service, service]),
    pairs,
  );
  await check('node to service', fromNodes([service, service, service]), pairs);
  await check(
    'pod to node port',
    fromPods(() => nodePorts),
    pairs,
  );
  await check('node to node port', fromNodes(nodePorts), pairs);
  await check(
    'pod to host port',
    fromPods(() => hostPorts),
    pairs,
  );
  await check('node to host port', fromNodes(hostPorts), pairs);
  await check(
    'node port from outside of the cluster',
    [
      cluster.controlHost.exec(['sh', '-c', script(nodePorts)]).then(({ stdout, stderr }) => {
        return judge('outside', nodePorts, stdout, stderr);
      }),
    ],
    nodePorts.length,
  );
  for (const [what, policy, isLetIn] of POLICY_STEPS) {
    onProgress(what);
    if (policy === undefined) await control.told(['-n', NAMESPACE, 'delete', 'networkpolicy', '--all']);
    else await control.told(['apply', '-f', '-'], { input: JSON.stringify(policy) });
    checks.push({ what, tried: pairs, failures: await policyFailures(cluster, clients, toWebs(), isLetIn) });
  }
  return checks;
}

const policy = (name: string, from?: object) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace: NAMESPACE },
  spec: {
    podSelector: { matchLabels: { app: 'web' } },
    policyTypes: ['Ingress'],
    ...(from && { ingress: [{ from: [from] }] }),
  },
});

/** What is done one after the other, and whether clients are let in then. */
const POLICY_STEPS: readonly (readonly [what: string, policy: object | undefined, isLetIn: boolean])[] = [
  ['pod to pod, with a network policy that lets in nobody', policy('nobody'), false],
  [
    'pod to pod, with one more that lets in other pods than these',
    policy('others', { podSelector: { matchLabels: { app: 'other' } } }),
    false,
  ],
  [
    'pod to pod, with one more that lets in these by their label',
    policy('clients', { podSelector: { matchLabels: { app: 'client' } } }),
    true,
  ],
  ['pod to pod, without policies again', undefined, true],
];

/** Pairs that are not as they should be, asked again until it is time for them to be. */
async function policyFailures(
  cluster: Cluster,
  clients: readonly ClusterPod[],
  webs: readonly Target[],
  isLetIn: boolean,
): Promise<string[]> {
  const untilMs = Date.now() + POLICY_MS;
  for (;;) {
    const failures = (
      await Promise.all(
        clients.map(async (client) => {
          const refused = await ask(cluster, client, webs, isLetIn ? TRY_SECONDS : DENIED_SECONDS);
          if (isLetIn) return refused;
          const answered = webs.filter(({ url }) => !refused.some((line) => line.includes(`(${url})`)));
          return answered.map(({ name }) => `${client.name} on ${client.node} is let in to ${name}`);
        }),
      )
    ).flat();
    if (failures.length === 0 || Date.now() >= untilMs) return failures;
  }
}

/** Whether pods have addresses of the range that the API server has given to their node. */
async function checkRanges(cluster: Cluster, pods: readonly ClusterPod[]): Promise<Check> {
  const path = '{range .items[*]}{.metadata.name} {.spec.podCIDR}{"\\n"}{end}';
  const lines = (await cluster.control.told(['get', 'nodes', `-o=jsonpath=${path}`])).trim().split('\n');
  const ranges = new Map(lines.map((line) => line.split(' ') as [string, string]));
  const failures = pods.flatMap(({ name, node, address }) => {
    const range = ranges.get(node) ?? '';
    const isOfIt = range !== '' && prefixContains(parsePrefix(range), parseAddress(address));
    return isOfIt ? [] : [`${name} on ${node} is ${address}, which is not of ${range || 'any range'}`];
  });
  return { what: "pods' addresses are of their nodes' ranges", tried: pods.length, failures };
}

/** How many pods of the web service a node's kube-proxy has rules for. */
async function countEndpoints(machine: KubernetesMachine): Promise<number> {
  const { stdout } = await machine.exec(['iptables-save', '-t', 'nat']);
  return stdout.split('\n').filter((line) => line.includes(`"${NAMESPACE}/web"`) && line.includes('DNAT'))
    .length;
}

async function ask(
  cluster: Cluster,
  client: ClusterPod,
  targets: readonly Target[],
  trySeconds = TRY_SECONDS,
): Promise<string[]> {
  const argv = ['-n', NAMESPACE, 'exec', client.name, '--', 'sh', '-c', script(targets, trySeconds)];
  let { code, stdout, stderr } = await cluster.control.kubectl(argv);
  // The way there is the API server's and the kubelet's, which is not what is looked at here.
  if (code !== 0 && stdout === '') ({ code, stdout, stderr } = await cluster.control.kubectl(argv));
  return judge(`${client.name} on ${client.node}`, targets, stdout, stderr);
}

/** A line for each target: who answered, and under which address it was asked. Debian's busybox has a `wget -T` that crashes. */
function script(targets: readonly Target[], trySeconds = TRY_SECONDS): string {
  const ask = `busybox timeout ${trySeconds} busybox wget -q -O -`;
  return targets.map(({ url }) => `echo "$(${ask} ${url} 2>&1 | tr '\\n' ' ')"`).join('\n');
}

function judge(from: string, targets: readonly Target[], stdout: string, stderr: string): string[] {
  const lines = stdout.split('\n');
  return targets.flatMap(({ name, url, as }, index) => {
    const said = lines[index]?.trim() ?? '';
    const isAnswer = /^web-\w+ \S+$|lastUpdated/.test(said);
    if (!isAnswer) return [`${from} to ${name} (${url}): ${said || stderr.trim() || 'no answer'}`];
    // The server listens for both families, and writes IPv4 as a part of IPv6.
    const seen = said.split(' ')[1]?.replace(/^\[(?:::ffff:)?(.*)\]$/, '$1');
    return as === undefined || seen === as ? [] : [`${from} to ${name}: seen as ${seen}, and is ${as}`];
  });
}

function workload(): object[] {
  const pod = (app: string, command: string, ports: readonly object[]) => ({
    metadata: { labels: { app } },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          name: app,
          image: BUSYBOX_IMAGE,
          command: ['sh', '-c', command],
          ports,
          ...(ports.length > 0 && { readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 } }),
        },
      ],
    },
  });
  const daemonSet = (app: string, command: string, ports: readonly object[] = []) => ({
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: app, namespace: NAMESPACE },
    spec: { selector: { matchLabels: { app } }, template: pod(app, command, ports) },
  });
  const who = `#!/bin/sh\\nprintf "\\\\n"; echo "$(hostname) $REMOTE_ADDR"\\n`;
  const serve = `mkdir -p /tmp/www/cgi-bin && printf '${who}' > /tmp/www/cgi-bin/who && chmod +x /tmp/www/cgi-bin/who && exec busybox httpd -f -p 8080 -h /tmp/www`;
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    daemonSet('web', serve, [{ containerPort: 8080, hostPort: HOST_PORT }]),
    daemonSet('client', 'exec sleep 1000000'),
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: NAMESPACE },
      spec: {
        type: 'NodePort',
        selector: { app: 'web' },
        ports: [{ port: 80, targetPort: 8080, nodePort: NODE_PORT }],
      },
    },
  ];
}
