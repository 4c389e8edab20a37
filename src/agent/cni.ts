/**
 * The agent's side of the CNI plugin, loaded when it is first needed: a node without containers pays nothing for it. At
 * the start it is needed where something of the plugin is in the state folder.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CniCommands, InstalledPlugin } from '../cni/messages.ts';
import type { CniService, CniServiceOptions } from '../cni-server/cni-service.ts';
import { WarrenError } from '../errors.ts';
import { LateService } from './late-service.ts';

export interface CniParts {
  readonly stateDir: string;
  /** The control socket, by which the plugin asks. */
  readonly socket: string;
  /** A plugin whose network configuration is to be there once the overlay is up, as if `warren cni install` had said so. */
  readonly announce?: InstalledPlugin;
}

export type CniOptions = Omit<CniServiceOptions, 'conflists' | 'queue'> & { readonly nodeId: string };

export class Cni {
  /** Undefined: this agent has none. */
  readonly #parts: CniParts | undefined;
  readonly #options: CniOptions;
  readonly #service = new LateService(() => this.#load());

  constructor(parts: CniParts | undefined, options: CniOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** To be called when the control socket is bound. Throws STATE_CORRUPT and the like. */
  async start(): Promise<void> {
    if (this.#parts === undefined) return;
    const { stateDir, announce } = this.#parts;
    if (announce !== undefined) (await this.#service.loaded()).install(announce);
    else if (existsSync(queueFolder(stateDir)) || existsSync(join(stateDir, 'cni.json')))
      await this.#service.loaded();
  }

  async stop(): Promise<void> {
    await this.#service.stop();
  }

  /** Throws NOT_FOUND where there is none, ATTACHMENTS_CLOSED where the agent stops. */
  async commands(): Promise<CniCommands> {
    return this.#service.loaded();
  }

  /** To be called when the overlay is up. */
  overlayIsUp(): void {
    // What fails is said to whoever needs it.
    this.#service.asked?.then((service) => service.overlayIsUp()).catch(() => {});
  }

  async #load(): Promise<CniService> {
    if (this.#parts === undefined) throw new WarrenError('NOT_FOUND', 'this agent does not serve CNI');
    const { nodeId, ...options } = this.#options;
    const { stateDir, socket } = this.#parts;
    const { CniService } = await import('../cni-server/cni-service.ts');
    const { Conflists } = await import('../cni-server/conflists.ts');
    const queue = queueFolder(stateDir);
    const conflists = new Conflists({ stateDir, nodeId, socket, queue });
    const service = new CniService({ ...options, conflists, queue });
    service.start();
    return service;
  }
}

function queueFolder(stateDir: string): string {
  return join(stateDir, 'cni-deletes');
}
