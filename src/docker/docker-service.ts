/**
 * The driver of Docker engines as a part of the agent: whether there is to be one is remembered, and what containers of
 * an engine left behind goes.
 */
import { rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Attachments } from '../attachment/attachments.ts';
import type { Clock, Timer } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';
import type { DockerAnswer, DockerCommands, DockerSettings } from './commands.ts';
import { ContainerNames } from './container-names.ts';
import type { NetworkFacts } from './describe.ts';
import { DOCKER_CLIENT, DockerDriver, type DriverOptions } from './driver.ts';
import { DockerEngine } from './engine.ts';
import {
  type EngineConfig,
  type EngineConfigChange,
  engineConfigSchema,
  type NodeResolvers,
  planEngineConfig,
  writeEngineConfig,
} from './engine-config.ts';
import { Isolation, type IsolationOptions } from './isolation.ts';
import { KnownNetworks } from './known-networks.ts';
import { PluginSocket } from './plugin-socket.ts';

/** Between looks at what was left behind. */
const LOOK_EVERY_MS = 10_000;
/** So long the engine must know nothing of an endpoint: one that is being made it shows only when its container runs. */
const ORPHAN_MS = 60_000;

/** From when an agent starts: an engine that starts its containers at the same time does so once, and not again. */
const SUBNET_WITHIN_MS = 15_000;
const SUBNET_EVERY_MS = 100;

/** In messages. */
const WHAT = 'where the Docker engine is';

const schema = z.object({
  plugin: z.string(),
  engine: z.string(),
  networks: z.record(z.string(), z.object({ name: z.string(), reach: z.string() })).optional(),
  config: engineConfigSchema.optional(),
});

type State = z.output<typeof schema>;

/** Who answers names on this node. */
export interface ServiceNames {
  /** Undefined: nobody does, as far as is known now. */
  address(): string | undefined;
  /** The host's, as text. */
  resolvers(): Promise<readonly string[]>;
}

export interface DockerServiceOptions
  extends Omit<DriverOptions, 'names' | 'attachments' | 'isolated' | 'refuseWithoutSubnet'> {
  readonly attachments: Attachments;
  /** Of all nodes, and when that changes. */
  readonly inventory: Pick<IsolationOptions, 'listed' | 'onChange'>;
  readonly rules: IsolationOptions['rules'];
  readonly names: ServiceNames;
  /** Throws NO_SUBNET where there is none yet. */
  readonly refuseWithoutSubnet: () => void;
  readonly stateDir: string;
  readonly nodeId: string;
  readonly clock: Clock;
  readonly log: Logger;
}

export class DockerService implements DockerCommands {
  readonly #options: DockerServiceOptions;
  readonly #path: string;
  #socket: PluginSocket | undefined;
  #engine: DockerEngine | undefined;
  #names: ContainerNames | undefined;
  #isolation: Isolation | undefined;
  #driver = '';
  /** What was put into the engine's configuration. */
  #config: EngineConfig | undefined;
  /** When an endpoint was first missing from the engine's. Bounded by the attachments. */
  readonly #missingSince = new Map<string, number>();
  #timer: Timer | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** The last change; each waits for the one before. */
  #changing: Promise<void> = Promise.resolve();
  #subnetUntilMs = Number.NEGATIVE_INFINITY;
  #isStopped = false;

  constructor(options: DockerServiceOptions) {
    this.#options = options;
    this.#path = dockerStatePath(options.stateDir);
  }

  /** Opens the socket if there is to be one. Throws STATE_CORRUPT and the like, DOCKER_SOCKET_UNUSABLE. */
  async start(): Promise<void> {
    const state = readStateFile(this.#path, schema, WHAT, this.#options.nodeId);
    if (state === undefined) return;
    this.#subnetUntilMs = this.#options.clock.now() + SUBNET_WITHIN_MS;
    this.#config = state.config;
    await this.#open(state, state.networks ?? {});
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#subnetUntilMs = Number.NEGATIVE_INFINITY;
    await this.#changing.catch(() => {});
    await this.#close();
  }

  /** Resolves when a look at what was left behind that is under way is done. */
  looked(): Promise<void> {
    return this.#looking;
  }

  /** Serves an engine, in place of the one before. Throws NO_SUBNET, DOCKER_CONFIG_INVALID and the like. */
  enable(settings: DockerSettings): Promise<DockerAnswer> {
    return this.#change(async () => {
      const { plugin, engine, daemonConfig } = settings;
      const change = planEngineConfig(this.#config, await this.#wantedConfig(daemonConfig));
      await this.#close();
      await this.#open(settings, {});
      // Before it is put there: what is not there need not be taken out, and what nobody remembers never is.
      this.#write({ plugin, engine, config: change.config ?? this.#config });
      try {
        writeEngineConfig(change);
      } catch (error) {
        this.#write({ plugin, engine, config: this.#config });
        throw error;
      }
      return this.#changed({ plugin, engine }, change);
    });
  }

  /** Throws LEAVE_PODS while there are containers, DOCKER_CONFIG_INVALID and the like. */
  disable(): Promise<DockerAnswer> {
    return this.#change(async () => {
      const count = this.#ours().length;
      if (count > 0) {
        throw new WarrenError('LEAVE_PODS', `${count} containers are on networks of this driver`, {
          hint: 'Stop them first, and remove the networks: the engine cannot do so without its driver.',
        });
      }
      const change = planEngineConfig(this.#config, undefined);
      writeEngineConfig(change);
      await this.#isolation?.settled();
      await this.#close();
      const answer = this.#changed(undefined, change);
      rmSync(this.#path, { force: true });
      return answer;
    });
  }

  async #wantedConfig(path: string | undefined) {
    if (path === undefined) return undefined;
    const { names, refuseWithoutSubnet } = this.#options;
    refuseWithoutSubnet();
    const address = names.address();
    if (address === undefined) return undefined;
    return { path, resolvers: { address, others: await names.resolvers() } satisfies NodeResolvers };
  }

  #changed(settings: DockerSettings | undefined, { config, files }: EngineConfigChange): DockerAnswer {
    const file = config?.path ?? this.#config?.path;
    this.#config = config;
    if (settings) this.#write({ ...settings, config });
    return file === undefined ? {} : { names: { file, isChanged: files.size > 0 } };
  }

  #write(state: State): void {
    writeStateFile(this.#path, state, this.#options.nodeId);
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    const changed = this.#changing.then(() => {
      if (this.#isStopped) throw new WarrenError('ATTACHMENTS_CLOSED', 'the agent is stopping');
      return work();
    });
    this.#changing = changed.then(
      () => {},
      () => {},
    );
    return changed;
  }

  async #open(
    { plugin, engine }: DockerSettings,
    remembered: Readonly<Record<string, NetworkFacts>>,
  ): Promise<void> {
    const { clock, log } = this.#options;
    const asked = new DockerEngine(engine);
    const networks = new KnownNetworks({
      engine: asked,
      remembered,
      remember: (all) => {
        try {
          this.#write({ plugin, engine, networks: all, config: this.#config });
        } catch (error) {
          log.error({ err: error }, 'the names of Docker networks could not be written down');
        }
      },
    });
    const isolation = new Isolation({
      ...this.#options.inventory,
      ...{ rules: this.#options.rules, clock, log },
      isolated: () => this.#options.attachments.list().filter(({ client }) => client === DOCKER_CLIENT),
    });
    this.#isolation = isolation;
    await isolation.start();
    const isolated = () => isolation.settled();
    const refuseWithoutSubnet = () => this.#refuseWithoutSubnet();
    const driver = new DockerDriver({ ...this.#options, names: networks, isolated, refuseWithoutSubnet });
    const handle = (method: string, body: unknown) => driver.handle(method, body);
    try {
      this.#socket = await PluginSocket.open({ path: plugin, handle, log });
    } catch (error) {
      await isolation.stop();
      throw error;
    }
    this.#engine = asked;
    this.#driver = basename(plugin, '.sock');
    this.#names = new ContainerNames({
      ...{ engine: asked, socket: engine, driver: this.#driver, networks },
      ...{ attachments: this.#options.attachments, clock, log },
    });
    this.#names.start();
    this.#later();
  }

  async #close(): Promise<void> {
    this.#timer?.cancel();
    const socket = this.#socket;
    this.#socket = undefined;
    await this.#names?.stop();
    await this.#looking;
    await socket?.close();
    await this.#isolation?.stop();
  }

  /** What a person should look at, one sentence each. */
  problems(): string[] {
    return [...(this.#isolation?.problems() ?? []), ...this.#configProblems()];
  }

  /** Another lease: the engine still sends its containers' questions to where this node was. */
  #configProblems(): string[] {
    const now = this.#options.names.address();
    if (this.#config === undefined || now === undefined || now === this.#config.address) return [];
    return [
      `containers of Docker ask ${this.#config.address} for names, and this node is ${now} now: ` +
        'run warren docker enable again, and restart the engine and its containers',
    ];
  }

  async #refuseWithoutSubnet(): Promise<void> {
    const { clock, subnets, refuseWithoutSubnet } = this.#options;
    while (subnets().length === 0 && clock.now() < this.#subnetUntilMs)
      await new Promise<void>((resolve) => clock.after(SUBNET_EVERY_MS, resolve));
    refuseWithoutSubnet();
  }

  #ours(): string[] {
    const { attachments } = this.#options;
    return attachments.list().flatMap(({ client, id }) => (client === DOCKER_CLIENT ? [id] : []));
  }

  #later(): void {
    const { clock } = this.#options;
    this.#timer = clock.after(LOOK_EVERY_MS, () => (this.#looking = this.#look()));
  }

  async #look(): Promise<void> {
    const { log } = this.#options;
    // A node without containers leaves its engine in peace.
    if (this.#ours().length > 0) await this.#names?.ask();
    try {
      await this.#removeOrphans();
    } catch (error) {
      log.error({ err: error }, 'what Docker containers left behind could not be removed');
    }
    if (this.#socket !== undefined) this.#later();
  }

  /** Those that the engine has forgotten, as one that was killed does: it then never says DeleteEndpoint. */
  async #removeOrphans(): Promise<void> {
    const { attachments, clock, log } = this.#options;
    const ours = this.#ours();
    if (ours.length === 0) return this.#missingSince.clear();
    // One that is away keeps its containers (live restore), and so does the agent.
    const known = await this.#engine!.endpoints(this.#driver).catch(() => undefined);
    if (known === undefined) return this.#missingSince.clear();
    for (const id of this.#missingSince.keys())
      if (known.has(id) || !ours.includes(id)) this.#missingSince.delete(id);
    for (const id of ours.filter((one) => !known.has(one))) {
      const since = this.#missingSince.get(id) ?? clock.now();
      this.#missingSince.set(id, since);
      if (clock.now() - since < ORPHAN_MS) continue;
      await attachments.delete(id);
      this.#missingSince.delete(id);
      log.info({ id }, 'the Docker engine has forgotten an endpoint, and its attachment is removed');
    }
  }
}

/** Takes what was put into an engine's configuration out of it, where no agent runs. Throws DOCKER_CONFIG_INVALID and the like. */
export function withdrawEngineConfig(stateDir: string, nodeId: string): void {
  const path = dockerStatePath(stateDir);
  const state = readStateFile(path, schema, WHAT, nodeId);
  if (state?.config === undefined) return;
  writeEngineConfig(planEngineConfig(state.config, undefined));
  writeStateFile(path, { ...state, config: undefined }, nodeId);
}

export function dockerStatePath(stateDir: string): string {
  return join(stateDir, 'docker.json');
}
