/** The driver of Docker engines, loaded when it is first needed: a node without Docker pays nothing for it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DockerCommands } from '../docker/commands.ts';
import type { DockerService, DockerServiceOptions } from '../docker/docker-service.ts';
import { WarrenError } from '../errors.ts';
import { LateService } from './late-service.ts';

export interface DockerParts {
  readonly stateDir: string;
}

export class Docker {
  /** Undefined: this agent has none. */
  readonly #parts: DockerParts | undefined;
  readonly #options: Omit<DockerServiceOptions, 'stateDir'>;
  readonly #service = new LateService(() => this.#load());
  #running: DockerService | undefined;

  constructor(parts: DockerParts | undefined, options: Omit<DockerServiceOptions, 'stateDir'>) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Before the node has a subnet: an engine is told so, instead of waiting for an answer. */
  async start(): Promise<void> {
    if (this.#parts !== undefined && existsSync(join(this.#parts.stateDir, 'docker.json')))
      await this.#service.loaded();
  }

  async stop(): Promise<void> {
    await this.#service.stop();
  }

  /** What a person should look at, one sentence each. */
  problems(): string[] {
    return this.#running?.problems() ?? [];
  }

  /** Throws NOT_FOUND where there is none, ATTACHMENTS_CLOSED where the agent stops. */
  async commands(): Promise<DockerCommands> {
    return this.#service.loaded();
  }

  async #load(): Promise<DockerService> {
    if (this.#parts === undefined) throw new WarrenError('NOT_FOUND', 'this agent does not serve Docker');
    const { DockerService } = await import('../docker/docker-service.ts');
    const service = new DockerService({ ...this.#options, ...this.#parts });
    await service.start();
    this.#running = service;
    return service;
  }
}
