/** Calls attachments what the engine calls their containers and networks, from a moment after it does so: all nodes hear of it. */
import type { Attachment } from '../attachment/attachment.ts';
import type { Attachments } from '../attachment/attachments.ts';
import type { Clock, Timer } from '../clock.ts';
import { WORKLOAD_LABELS } from '../inventory/workload.ts';
import type { Logger } from '../log/logger.ts';
import { containersByEndpoint, described } from './describe.ts';
import { DOCKER_CLIENT } from './driver.ts';
import type { DockerEngine, EngineContainer } from './engine.ts';
import { EngineEvents } from './engine-events.ts';
import type { KnownNetworks } from './known-networks.ts';

/** From an event of the engine to when it is asked, and between two such times: many containers may come at once. */
const ASK_AFTER_MS = 30;
const ASK_EVERY_MS = 250;

export interface ContainerNamesOptions {
  readonly engine: DockerEngine;
  /** The engine's own. */
  readonly socket: string;
  /** What the engine calls the driver. */
  readonly driver: string;
  readonly networks: KnownNetworks;
  readonly attachments: Attachments;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ContainerNames {
  readonly #options: ContainerNamesOptions;
  readonly #events: EngineEvents;
  /** By endpoint, of which they are as long as it is there. Bounded by the engine's containers. */
  readonly #aliases = new Map<string, readonly string[]>();
  #due: Timer | undefined;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: ContainerNamesOptions) {
    this.#options = options;
    const { socket, clock } = options;
    this.#events = new EngineEvents({ socket, clock, onEvent: () => this.#askSoon() });
  }

  start(): void {
    this.#events.start();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#events.stop();
    this.#due?.cancel();
    await this.#asking;
  }

  /** Asks the engine now. Never throws: where it does not answer, all are called what they were. */
  ask(): Promise<void> {
    this.#asking = this.#asking.then(() => this.#ask());
    return this.#asking;
  }

  #askSoon(): void {
    if (this.#due !== undefined || this.#isStopped) return;
    const { clock } = this.#options;
    const waitMs = Math.max(ASK_AFTER_MS, this.#askedAtMs + ASK_EVERY_MS - clock.now());
    this.#due = clock.after(waitMs, () => {
      this.#due = undefined;
      void this.ask();
    });
  }

  async #ask(): Promise<void> {
    const { engine, driver, networks, attachments, clock, log } = this.#options;
    this.#askedAtMs = clock.now();
    try {
      const [all, containers] = await Promise.all([engine.networks(driver), engine.containers()]);
      networks.learn(all);
      const byEndpoint = containersByEndpoint(containers);
      for (const id of this.#aliases.keys()) if (!byEndpoint.has(id)) this.#aliases.delete(id);
      for (const attachment of attachments.list())
        if (attachment.client === DOCKER_CLIENT && !this.#isStopped)
          await this.#describe(attachment, byEndpoint.get(attachment.id));
    } catch (error) {
      log.debug({ err: error }, 'the Docker engine does not say what its containers are called');
    }
  }

  /** What cannot be said of one is no reason to say nothing of the others. */
  async #describe(attachment: Attachment, container: EngineContainer | undefined): Promise<void> {
    const { networks, attachments, log } = this.#options;
    const { id, labels } = attachment;
    const facts = networks.get(labels[WORKLOAD_LABELS.networkId] ?? '');
    try {
      const aliases = container && (await this.#aliasesOf(container.Id, id));
      await attachments.describe(id, described(attachment, container, facts, aliases));
    } catch (error) {
      log.debug({ id, err: error }, 'what a container is called could not be taken over');
    }
  }

  async #aliasesOf(containerId: string, endpointId: string): Promise<readonly string[]> {
    const known = this.#aliases.get(endpointId);
    if (known !== undefined) return known;
    const aliases = await this.#options.engine.aliases(containerId, endpointId);
    this.#aliases.set(endpointId, aliases);
    return aliases;
  }
}
