/** What `kubectl apply` is given: by shape, and in the two ways that it can be made, as one and the same. */
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { loadConfig, parseConfig } from '../../../src/config/load.ts';
import { generateClusterKey } from '../../../src/link/key-ring.ts';
import { manifests, uninstallManifests } from '../../../src/manifests/manifests.ts';
import { packageFile, VERSION } from '../../../src/package.ts';
import { cli } from '../../helpers/cli.ts';

/** As much of an object as is looked at here. */
interface Container {
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly securityContext: {
    readonly privileged?: boolean;
    readonly allowPrivilegeEscalation: boolean;
    readonly readOnlyRootFilesystem: boolean;
    readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
  };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly livenessProbe?: {
    readonly httpGet: { readonly host: string; readonly port: number; readonly path: string };
  };
  readonly readinessProbe?: { readonly httpGet: { readonly path: string } };
  readonly resources?: {
    readonly requests: Record<string, string>;
    readonly limits?: Record<string, string>;
  };
}
interface KubernetesObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly { readonly resources: readonly string[]; readonly verbs: readonly string[] }[];
  readonly data?: Record<string, string>;
  readonly stringData?: Record<string, string>;
  readonly spec?: {
    readonly selector: { readonly matchLabels: object };
    readonly updateStrategy: object;
    readonly template: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly hostNetwork: boolean;
        readonly priorityClassName?: string;
        readonly tolerations: readonly object[];
        readonly initContainers: readonly Container[];
        readonly containers: readonly Container[];
        readonly volumes: readonly { readonly name: string }[];
      };
    };
  };
}

function objects(text: string): KubernetesObject[] {
  return parseAllDocuments(text).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as KubernetesObject;
  });
}
function one(all: readonly KubernetesObject[], kind: string): KubernetesObject {
  const found = all.filter((object) => object.kind === kind);
  expect(found, kind).toHaveLength(1);
  return found[0]!;
}

const KEY = generateClusterKey();
const all = objects(manifests({ key: KEY }));
const daemonSet = one(all, 'DaemonSet').spec!;
const pod = daemonSet.template.spec;
const agent = pod.containers[0]!;
const plugin = pod.initContainers[0]!;

describe('the manifests', () => {
  it('are these objects, the namespace first', () => {
    expect(all.map(({ kind, metadata: { name, namespace } }) => [kind, namespace, name].join(' '))).toEqual([
      'Namespace  warren',
      'ConfigMap warren warren',
      'Secret warren warren-key',
      'ServiceAccount warren warren',
      'ClusterRole  warren',
      'ClusterRoleBinding  warren',
      'DaemonSet warren warren',
    ]);
  });

  it('without a key have no Secret, so that the one of the cluster stays', () => {
    expect(objects(manifests({})).map(({ kind }) => kind)).not.toContain('Secret');
  });

  it('carry key and configuration as they are, whatever is in them', () => {
    const config = '# a: "b"\n\ncluster: { podCidrs: [10.1.0.0/16] }\n';
    const carried = objects(manifests({ key: KEY, config }));
    expect(one(carried, 'Secret').stringData).toEqual({ 'cluster.key': `${KEY}\n` });
    expect(one(carried, 'ConfigMap').data).toEqual({ 'warren.yaml': config });
  });

  it('name the image of this version, or another one everywhere', () => {
    const images = (text: string) =>
      [...objects(text)].flatMap(({ spec }) =>
        [...(spec?.template.spec.initContainers ?? []), ...(spec?.template.spec.containers ?? [])].map(
          ({ image }) => image,
        ),
      );
    expect(new Set(images(manifests({})))).toEqual(new Set([`warren:${VERSION}`]));
    expect(new Set(images(manifests({ image: 'registry.example:5000/warren:1' })))).toEqual(
      new Set(['registry.example:5000/warren:1']),
    );
    const podCidrs = ['10.1.0.0/16', 'fd01::/48'];
    expect(new Set(images(uninstallManifests({ image: 'other', podCidrs })))).toEqual(new Set(['other']));
  });

  it('have a configuration that loads', () => {
    const config = loadConfig(packageFile('deploy/kubernetes/warren.yaml'));
    expect(config.egress.masquerade).toBe(true);
    expect(config.cluster.keyFile).toBe('/etc/warren/key/cluster.key');
  });
});

describe("the agent's pod", () => {
  it('has what it needs of root, and no more', () => {
    expect(agent.securityContext.capabilities).toEqual({
      drop: ['ALL'],
      add: ['NET_ADMIN', 'NET_RAW', 'NET_BIND_SERVICE', 'SYS_ADMIN'],
    });
    expect(plugin.securityContext.capabilities).toEqual({ drop: ['ALL'], add: ['SYS_CHROOT'] });
    for (const { securityContext } of [agent, plugin]) {
      expect(securityContext).toMatchObject({
        readOnlyRootFilesystem: true,
        allowPrivilegeEscalation: false,
      });
      expect(securityContext.privileged).toBeUndefined();
    }
  });

  it('asks the API server for what the agent does there alone', () => {
    const verbs = one(all, 'ClusterRole').rules!.flatMap(({ resources, verbs }) =>
      resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
    );
    expect(verbs).toEqual([
      ...['get nodes', 'list nodes', 'watch nodes', 'list networkpolicies', 'watch networkpolicies'],
      ...['list pods', 'watch pods', 'list namespaces', 'watch namespaces', 'patch nodes/status'],
    ]);
  });

  it('comes to every node first, and to one after the other when it changes', () => {
    expect(pod).toMatchObject({
      hostNetwork: true,
      priorityClassName: 'system-node-critical',
      tolerations: [{ operator: 'Exists' }],
    });
    expect(daemonSet.updateStrategy).toEqual({ type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } });
    expect(daemonSet.selector.matchLabels).toEqual(daemonSet.template.metadata.labels);
  });

  it('is asked where its configuration says', () => {
    const { listen } = loadConfig(packageFile('deploy/kubernetes/warren.yaml')).api;
    const { host, port, path } = agent.livenessProbe!.httpGet;
    expect({ host, port, path }).toEqual({ ...(listen as object), path: '/livez' });
    expect(agent.readinessProbe!.httpGet).toEqual({ ...(listen as object), path: '/readyz' });
  });

  it('asks for the memory that an agent has at most, and has no limit on its processor time', () => {
    const measured = /met +peak memory of one agent .*\(<= (\d+) MB\)/.exec(
      readFileSync(packageFile('docs/benchmarks.md'), 'utf8'),
    );
    expect(Number.parseInt(agent.resources!.requests.memory!, 10)).toBeGreaterThanOrEqual(
      Number(measured![1]),
    );
    expect(agent.resources!.limits).not.toHaveProperty('cpu');
  });

  it('mounts volumes that are there, and all of them', () => {
    const mounted = [...pod.initContainers, ...pod.containers].flatMap(
      ({ volumeMounts }) => volumeMounts ?? [],
    );
    expect([...new Set(mounted.map(({ name }) => name))].sort()).toEqual(
      pod.volumes.map(({ name }) => name).sort(),
    );
  });
});

describe('what takes it off again', () => {
  it('knows the pod ranges, in a configuration that loads', () => {
    const podCidrs = ['10.1.0.0/16', 'fd01::/48'];
    const { spec } = one(objects(uninstallManifests({ podCidrs })), 'DaemonSet');
    const clean = spec!.template.spec.initContainers[0] as Container & {
      readonly env: readonly { readonly name: string; readonly value: string }[];
    };
    expect(clean.env).toEqual([{ name: 'POD_CIDRS', value: '10.1.0.0/16, fd01::/48' }]);
    const format = /printf '(.*)\\n' "\$POD_CIDRS"/.exec(clean.command[2]!)![1]!;
    expect(() => parseConfig(format.replace('%s', clean.env[0]!.value), 'test', 'node')).not.toThrow();
  });

  it('has the range of the base', () => {
    const { cluster } = parse(readFileSync(packageFile('deploy/kubernetes/warren.yaml'), 'utf8')) as {
      cluster: { podCidrs: string[] };
    };
    const base = readFileSync(packageFile('deploy/kubernetes/uninstall/daemonset.yaml'), 'utf8');
    expect(base).toContain(`value: ${cluster.podCidrs.join(', ')} }`);
  });
});

describe('warren kubernetes manifests', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'warren-manifests-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('writes them with a new key to a file that only its owner may read, and never over another', async () => {
    const path = join(folder, 'all.yaml');
    expect(await cli(['kubernetes', 'manifests', '--new-key', '-o', path])).toMatchObject({
      code: 0,
      stdout: '',
    });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(one(objects(readFileSync(path, 'utf8')), 'Secret').stringData!['cluster.key']).toMatch(
      /^\S{43}=\n$/,
    );
    expect(await cli(['kubernetes', 'manifests', '--new-key', '-o', path])).toMatchObject({ code: 1 });
  });

  it('takes a key and a configuration that are there, and refuses what is none', async () => {
    const [key, config] = [join(folder, 'key'), join(folder, 'warren.yaml')];
    writeFileSync(key, `${KEY}\n`, { mode: 0o600 });
    writeFileSync(config, 'cluster: { podCidrs: [10.9.0.0/16] }\n');
    const argv = ['kubernetes', 'manifests', '--key-file', key, '--config', config];
    const { code, stdout } = await cli(argv);
    expect(code).toBe(0);
    expect(one(objects(stdout), 'Secret').stringData).toEqual({ 'cluster.key': `${KEY}\n` });
    expect((await cli([...argv.slice(0, 4), '--uninstall', '--config', config])).stdout).toContain(
      '10.9.0.0/16',
    );
    writeFileSync(key, 'no key');
    expect(await cli(argv)).toMatchObject({ code: 1, stdout: '' });
    writeFileSync(config, 'cluster: {}\n');
    expect((await cli(['kubernetes', 'manifests', '--config', config])).stderr).toContain('cluster.podCidrs');
    expect((await cli([...argv, '--new-key'])).code).toBe(2);
  });
});

/** Of Kubernetes as `npm run kubernetes` has built it, or of this machine. */
const kubectl = findKubectl();

describe.runIf(kubectl)('kubectl', () => {
  it('makes the same of the base', () => {
    const folder = mkdtempSync(join(tmpdir(), 'warren-kustomize-'));
    try {
      cpSync(packageFile('deploy/kubernetes'), folder, { recursive: true });
      writeFileSync(join(folder, 'cluster.key'), `${KEY}\n`);
      const built = objects(execFileSync(kubectl!, ['kustomize', folder], { encoding: 'utf8' }));
      const plain = (list: readonly KubernetesObject[]) =>
        list
          .map(({ stringData, ...object }) => ({
            ...object,
            ...(stringData && { data: base64(stringData), type: 'Opaque' }),
          }))
          .sort((a, b) => a.kind.localeCompare(b.kind));
      expect(plain(built)).toEqual(plain(all));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

function base64(texts: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
  );
}

function findKubectl(): string | undefined {
  const cache = join(process.env.HOME ?? '/', '.cache/warren');
  const built = existsSync(cache) ? readdirSync(cache).filter((name) => name.startsWith('kubernetes-')) : [];
  const paths = [
    ...built.map((name) => join(cache, name, 'bin/kubectl')),
    '/usr/local/bin/kubectl',
    '/usr/bin/kubectl',
  ];
  return paths.find((path) => existsSync(path));
}
