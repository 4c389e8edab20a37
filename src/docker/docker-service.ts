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
import type { DockerCommands, DockerSettings } from './commands.ts';
import { DOCKER_CLIENT, DockerDriver, type DriverOptions } from './driver.ts';
import { DockerEngine } from './engine.ts';
import { PluginSocket } from './plugin-socket.ts';

/** Between looks at what was left behind. */
const LOOK_EVERY_MS = 10_000;
/** So long the engine must know nothing of an endpoint: one that is being made it shows only when its container runs. */
const ORPHAN_MS = 60_000;

const schema = z.object({ plugin: z.string(), engine: z.string() });

export interface DockerServiceOptions extends Omit<DriverOptions, 'names' | 'attachments'> {
  readonly attachments: Attachments;
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
  #driver = '';
  /** When an endpoint was first missing from the engine's. Bounded by the attachments. */
  readonly #missingSince = new Map<string, number>();
  #timer: Timer | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** The last change; each waits for the one before. */
  #changing: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: DockerServiceOptions) {
    this.#options = options;
    this.#path = dockerStatePath(options.stateDir);
  }

  /** Opens the socket if there is to be one. Throws STATE_CORRUPT and the like, DOCKER_SOCKET_UNUSABLE. */
  async start(): Promise<void> {
    const what = 'where the Docker engine is';
    const settings = readStateFile<DockerSettings>(this.#path, schema, what, this.#options.nodeId);
    if (settings !== undefined) await this.#open(settings);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#changing.catch(() => {});
    await this.#close();
  }

  /** Resolves when a look at what was left behind that is under way is done. */
  looked(): Promise<void> {
    return this.#looking;
  }

  /** Serves an engine, in place of the one before. */
  enable(settings: DockerSettings): Promise<void> {
    return this.#change(async () => {
      await this.#close();
      await this.#open(settings);
      writeStateFile(this.#path, settings, this.#options.nodeId);
    });
  }

  /** Throws LEAVE_PODS while there are containers. */
  disable(): Promise<void> {
    return this.#change(async () => {
      const count = this.#ours().length;
      if (count > 0) {
        throw new WarrenError('LEAVE_PODS', `${count} containers are on networks of this driver`, {
          hint: 'Stop them first, and remove the networks: the engine cannot do so without its driver.',
        });
      }
      await this.#close();
      rmSync(this.#path, { force: true });
    });
  }

  #change(work: () => Promise<void>): Promise<void> {
    const changed = this.#changing.then(async () => {
      if (this.#isStopped) throw new WarrenError('ATTACHMENTS_CLOSED', 'the agent is stopping');
      await work();
    });
    this.#changing = changed.catch(() => {});
    return changed;
  }

  async #open({ plugin, engine }: DockerSettings): Promise<void> {
    const names = new DockerEngine(engine);
    const driver = new DockerDriver({ ...this.#options, names });
    const handle = (method: string, body: unknown) => driver.handle(method, body);
    this.#socket = await PluginSocket.open({ path: plugin, handle, log: this.#options.log });
    this.#engine = names;
    this.#driver = basename(plugin, '.sock');
    this.#later();
  }

  async #close(): Promise<void> {
    this.#timer?.cancel();
    const socket = this.#socket;
    this.#socket = undefined;
    await this.#looking;
    await socket?.close();
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

export function dockerStatePath(stateDir: string): string {
  return join(stateDir, 'docker.json');
}
