/**
 * A host on which a runtime calls the CNI plugin: the plugin in this process, over a real control socket, with
 * attachments on a host and a disk in memory. Time passes in `clock` alone.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Commands } from '../../src/api/commands.ts';
import { type ApiServer, startApiServer } from '../../src/api/server.ts';
import type { Attachments } from '../../src/attachment/attachments.ts';
import type { Attached } from '../../src/cni/messages.ts';
import { type Outcome, runPlugin } from '../../src/cni/plugin.ts';
import { CniService } from '../../src/cni-server/cni-service.ts';
import { Conflists } from '../../src/cni-server/conflists.ts';
import { WarrenError } from '../../src/errors.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import { silentLogger } from '../../src/log/logger.ts';
import { VirtualClock } from '../../src/simulate/virtual-clock.ts';
import { MemoryHost, SUBNETS } from './attachments.ts';
import { FakeAgent } from './fake-agent.ts';

export const NETNS = '/run/netns/web';

export interface Call {
  readonly version?: string | undefined;
  readonly network?: string;
  /** More of the configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** More of the environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** When the process of the plugin was started; default: it does not say. */
  readonly startedAt?: number;
  /** Standard input as it is; default: the configuration. */
  readonly input?: string;
}

export interface Answer extends Outcome {
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into it as it likes
  readonly json: any;
}

export class CniHost {
  readonly clock = new VirtualClock();
  readonly memory: MemoryHost;
  readonly folder = mkdtempSync(join(tmpdir(), 'warren-cni-test-'));
  readonly socket = join(this.folder, 'agent.sock');
  readonly queue = join(this.folder, 'state', 'cni-deletes');
  /** What the agent can do now. */
  hasSubnet = true;
  isForwarding = true;
  subnets = SUBNETS;
  #attachments: Attachments | undefined;
  #service: CniService | undefined;
  #server: ApiServer | undefined;

  constructor(step?: (what: string) => Promise<void>) {
    this.memory = new MemoryHost(step);
    this.memory.network.makeNamespace(NETNS);
  }

  get attachments(): Attachments {
    return this.#attachments!;
  }

  get service(): CniService {
    return this.#service!;
  }

  /** Starts the agent. */
  /** What containers are told of names. */
  names: Attached['dns'];

  async start(): Promise<void> {
    const attachments = this.memory.start({ subnets: this.subnets });
    const options = { stateDir: join(this.folder, 'state'), nodeId: 'node-a', socket: this.socket };
    const service = new CniService({
      ...{ attachments, clock: this.clock, log: silentLogger, queue: this.queue },
      conflists: new Conflists({ ...options, queue: this.queue }),
      subnets: () => this.subnets.map(parsePrefix),
      refuseWithoutSubnet: () => {
        if (!this.hasSubnet) throw new WarrenError('NO_SUBNET', 'this node has no subnet yet');
      },
      isForwarding: () => this.isForwarding,
      names: () => this.names,
    });
    this.#attachments = attachments;
    this.#service = service;
    const agent = new FakeAgent();
    const commands: Commands = Object.assign(agent, { cni: async () => service });
    this.#server = await startApiServer({
      ...{ path: this.socket, gid: undefined, model: agent, commands, log: silentLogger },
    });
    service.start();
  }

  /** The control socket goes last, as in the agent. */
  async stop(): Promise<void> {
    await this.#service?.stop();
    await this.#attachments?.close();
    await this.#server?.close();
    this.#server = undefined;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true });
  }

  async call(command: string, call: Call = {}): Promise<Answer> {
    const { version = '1.1.0', network = 'warren', config = {}, env = {} } = call;
    const { socket, queue } = this;
    const text =
      call.input ??
      JSON.stringify({ cniVersion: version, name: network, type: 'warren-cni', socket, queue, ...config });
    const variables = {
      ...{ CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_NETNS: NETNS, CNI_IFNAME: 'eth0' },
      ...{ CNI_PATH: '/opt/cni/bin', ...env },
    };
    const caller = call.startedAt === undefined ? undefined : { pid: 4711, startedAt: call.startedAt };
    const outcome = await runPlugin(variables, async () => text, { caller });
    return { ...outcome, json: outcome.text === '' ? undefined : JSON.parse(outcome.text) };
  }

  /** Everything that is there of attachments: on the host, on the disk, in the queue. */
  left(): unknown[] {
    return [...this.memory.network.pairs.keys(), ...this.memory.store.state.attachments];
  }
}
