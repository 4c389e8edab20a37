/** What an agent serves and loads when it is first needed: once, again after a failure, and not any more once the agent stops. */
import { WarrenError } from '../errors.ts';

export class LateService<T extends { stop(): Promise<void> | void }> {
  readonly #load: () => Promise<T>;
  #service: Promise<T> | undefined;
  #isStopped = false;

  constructor(load: () => Promise<T>) {
    this.#load = load;
  }

  /** Undefined: nobody has needed it yet, or it could not be loaded. */
  get asked(): Promise<T> | undefined {
    return this.#service;
  }

  /** Throws ATTACHMENTS_CLOSED where the agent stops, and what loading throws. */
  loaded(): Promise<T> {
    if (this.#isStopped) {
      return Promise.reject(new WarrenError('ATTACHMENTS_CLOSED', 'the agent is stopping'));
    }
    this.#service ??= this.#load();
    this.#service.catch(() => {
      this.#service = undefined;
    });
    return this.#service;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    const service = await this.#service?.catch(() => undefined);
    await service?.stop();
  }
}
