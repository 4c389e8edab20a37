/**
 * etcd, API server, controller manager, scheduler and a name server, in a namespace on the lab's underlay. Everybody is the cluster's
 * administrator there: certificates are for the connections' sake.
 */
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WarrenError } from '../../errors.ts';
import { runCommand as run } from '../../host/command.ts';
import { builtFile } from '../../package.ts';
import type { CommandResult } from '../command.ts';
import type { LabHost } from '../host.ts';
import type { KubernetesPrograms } from './programs.ts';

export const SERVICE_CIDR = '10.96.0.0/16';
const FIRST_SERVICE = '10.96.0.1';
const API_PORT = 6443;
const ETCD = 'http://127.0.0.1:2379';
const READY_TIMEOUT_MS = 120_000;
const LOOK_EVERY_MS = 300;

export interface ControlPlaneOptions {
  readonly host: LabHost;
  readonly folder: string;
  readonly programs: KubernetesPrograms;
  /** One or two, the nodes' ranges. */
  readonly podCidrs: readonly string[];
  readonly signal: AbortSignal;
}

export class ControlPlane {
  readonly #options: ControlPlaneOptions;
  #apiServer: ChildProcess | undefined;

  constructor(options: ControlPlaneOptions) {
    this.#options = options;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  }

  /** For whoever is in the lab. */
  get kubeconfig(): string {
    return this.path('admin.conf');
  }

  /** Of the name server. */
  get address(): string {
    return this.#options.host.addresses.ipv4;
  }

  path(name: string): string {
    return join(this.#options.folder, name);
  }

  /** Returns when the API server answers. Throws LAB_TIMEOUT. */
  async start(): Promise<void> {
    const { host, podCidrs } = this.#options;
    const { ipv4 } = host.addresses;
    await this.#makeCertificates();
    writeFileSync(this.kubeconfig, this.kubeconfigFor(`https://${ipv4}:${API_PORT}`), { mode: 0o600 });
    this.#spawn('etcd', [
      'etcd',
      `--data-dir=${this.path('etcd')}`,
      `--listen-client-urls=${ETCD}`,
      `--advertise-client-urls=${ETCD}`,
      '--listen-peer-urls=http://127.0.0.1:2380',
    ]);
    this.startApiServer();
    await this.untilReady();
    this.#spawn('kube-controller-manager', [
      `--kubeconfig=${this.kubeconfig}`,
      `--service-account-private-key-file=${this.path('sa.key')}`,
      `--root-ca-file=${this.path('ca.crt')}`,
      '--allocate-node-cidrs=true',
      `--cluster-cidr=${podCidrs.join(',')}`,
      '--leader-elect=false',
    ]);
    this.#spawn('outside', [process.execPath, builtFile('lab/kubernetes/outside'), this.kubeconfig, ipv4]);
    this.#spawn('kube-scheduler', [`--kubeconfig=${this.kubeconfig}`, '--leader-elect=false']);
  }

  /** Does not wait until it answers. */
  startApiServer(): void {
    const { ipv4 } = this.#options.host.addresses;
    this.#apiServer = this.#spawn('kube-apiserver', [
      `--etcd-servers=${ETCD}`,
      `--bind-address=${ipv4}`,
      `--advertise-address=${ipv4}`,
      `--secure-port=${API_PORT}`,
      `--service-cluster-ip-range=${SERVICE_CIDR}`,
      `--client-ca-file=${this.path('ca.crt')}`,
      `--tls-cert-file=${this.path('server.crt')}`,
      `--tls-private-key-file=${this.path('server.key')}`,
      '--authorization-mode=RBAC',
      `--service-account-key-file=${this.path('sa.key')}`,
      `--service-account-signing-key-file=${this.path('sa.key')}`,
      '--service-account-issuer=https://kubernetes.default',
      '--allow-privileged=true',
      // The nodes have no names that anybody could look up.
      '--kubelet-preferred-address-types=InternalIP',
      `--kubelet-client-certificate=${this.path('admin.crt')}`,
      `--kubelet-client-key=${this.path('admin.key')}`,
    ]);
  }

  /** At once, as when its machine fails. */
  async endApiServer(): Promise<void> {
    const child = this.#apiServer;
    if (child === undefined) return;
    this.#apiServer = undefined;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.ref();
    child.kill('SIGKILL');
    await ended;
  }

  kubectl(
    argv: readonly string[],
    options: { input?: string; timeoutMs?: number } = {},
  ): Promise<CommandResult> {
    const { host, programs } = this.#options;
    return host.exec([programs.path('kubectl'), `--kubeconfig=${this.kubeconfig}`, ...argv], options);
  }

  /** What it prints. Throws LAB_COMMAND_FAILED. */
  async told(argv: readonly string[], options: { input?: string; timeoutMs?: number } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.kubectl(argv, options);
    if (code === 0) return stdout;
    throw new WarrenError(
      'LAB_COMMAND_FAILED',
      `kubectl ${argv.join(' ')}: ${stderr.trim() || `exit code ${code}`}`,
    );
  }

  /** With the certificates in it, so that it may be anywhere. */
  kubeconfigFor(server: string): string {
    const data = (name: string) => readFileSync(this.path(name)).toString('base64');
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'lab', cluster: { server, 'certificate-authority-data': data('ca.crt') } }],
      users: [
        {
          name: 'admin',
          user: { 'client-certificate-data': data('admin.crt'), 'client-key-data': data('admin.key') },
        },
      ],
      contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'admin' } }],
      'current-context': 'lab',
    });
  }

  log(name: string, lines = 20): string {
    const path = this.path(`${name}.log`);
    if (!existsSync(path)) return '(nothing)';
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }

  /** Throws LAB_TIMEOUT. */
  async untilReady(): Promise<void> {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    for (;;) {
      this.#options.signal.throwIfAborted();
      if ((await this.kubectl(['get', '--raw', '/readyz'])).code === 0) return;
      if (performance.now() > deadline) {
        const said = this.log('kube-apiserver');
        throw new WarrenError('LAB_TIMEOUT', `the API server does not get ready:\n${said}`);
      }
      await delay(LOOK_EVERY_MS);
    }
  }

  async #makeCertificates(): Promise<void> {
    const { ipv4 } = this.#options.host.addresses;
    const names = [`IP:${ipv4}`, `IP:${FIRST_SERVICE}`, 'IP:127.0.0.1', 'DNS:kubernetes.default'];
    const openssl = (...argv: string[]) => run(['openssl', ...argv], { timeoutMs: 60_000 });
    const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    await openssl('genrsa', '-out', this.path('sa.key'), '2048');
    const ca = [
      '-keyout',
      this.path('ca.key'),
      '-out',
      this.path('ca.crt'),
      '-days',
      '30',
      '-subj',
      '/CN=lab-ca',
    ];
    await openssl('req', '-x509', ...fresh, ...ca);
    const signed = async (name: string, subject: string, extensions: string) => {
      const [key, request, file] = [
        this.path(`${name}.key`),
        this.path(`${name}.csr`),
        this.path(`${name}.ext`),
      ];
      writeFileSync(file, extensions);
      await openssl('req', ...fresh, '-keyout', key, '-out', request, '-subj', subject);
      const by = [
        '-CA',
        this.path('ca.crt'),
        '-CAkey',
        this.path('ca.key'),
        '-CAcreateserial',
        '-days',
        '30',
      ];
      await openssl(
        'x509',
        '-req',
        '-in',
        request,
        ...by,
        '-extfile',
        file,
        '-out',
        this.path(`${name}.crt`),
      );
    };
    await signed('server', '/CN=kube-apiserver', `subjectAltName=${names.join(',')}`);
    await signed('admin', '/O=system:masters/CN=admin', 'extendedKeyUsage=clientAuth');
  }

  /** Of Kubernetes by its path, others as they are found. It goes on when this process ends. */
  #spawn(name: string, argv: readonly string[]): ChildProcess {
    const { host, programs } = this.#options;
    const file = openSync(this.path(`${name}.log`), 'a');
    const command = programs.has(name) ? [programs.path(name), ...argv] : argv;
    const child = host.spawn(command, { detached: true, stdio: ['ignore', file, file] });
    child.on('error', () => {});
    child.unref();
    closeSync(file);
    return child;
  }
}
