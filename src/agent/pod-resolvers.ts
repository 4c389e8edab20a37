/**
 * Tells programs in pods with a network namespace of their own who answers names (host/netns-resolv.ts). What fails is said
 * in the log, once: pods are of use without.
 */
import type { Attachment } from '../attachment/attachment.ts';
import type { Logger } from '../log/logger.ts';
import type { NameSettings } from './names.ts';

/** Of NetnsResolvFiles. */
export interface ResolvFiles {
  list(): Promise<string[]>;
  write(netns: string, text: string): Promise<void>;
  remove(netns: string): Promise<void>;
}

export interface PodResolversOptions {
  /** Resolves with nothing where there are none. */
  readonly load: () => Promise<ResolvFiles | undefined>;
  readonly attachments: () => readonly Attachment[];
  /** Undefined: nobody answers names just now. */
  readonly settings: (network: string) => NameSettings | undefined;
  /** Not, if the configuration says so. */
  readonly isEnabled: () => boolean;
  readonly log: Logger;
}

export class PodResolvers {
  readonly #options: PodResolversOptions;
  #files: ResolvFiles | undefined;
  /** What is in the files, by path of the namespace. Bounded by the attachments. */
  #written: Map<string, string> | undefined;
  #working: Promise<void> | undefined;
  #isDue = false;
  #isStopped = false;
  #failure: string | undefined;

  constructor(options: PodResolversOptions) {
    this.#options = options;
  }

  /** To be called when there may be other pods, or names are answered elsewhere or no longer. */
  changed(): void {
    if (this.#isStopped) return;
    this.#isDue = true;
    this.#working ??= this.#workWhileDue().finally(() => {
      this.#working = undefined;
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    // A pod that has just gone takes its file with it.
    await this.#working;
  }

  async #workWhileDue(): Promise<void> {
    while (this.#isDue) {
      this.#isDue = false;
      try {
        await this.#follow();
        this.#failure = undefined;
      } catch (error) {
        const text = String(error);
        if (text !== this.#failure) {
          this.#options.log.warn({ err: error }, 'pods cannot be told who answers names');
        }
        this.#failure = text;
      }
    }
  }

  async #follow(): Promise<void> {
    const { load, attachments, settings, isEnabled } = this.#options;
    this.#files ??= await load();
    if (!this.#files) return;
    this.#written ??= new Map((await this.#files.list()).map((netns) => [netns, '']));
    const pods = attachments().filter(({ ownsNetns, netns }) => ownsNetns && netns !== undefined);
    const wanted = new Set(isEnabled() ? pods.map(({ netns }) => netns!) : []);
    for (const netns of [...this.#written.keys()]) {
      if (wanted.has(netns)) continue;
      await this.#files.remove(netns);
      this.#written.delete(netns);
    }
    for (const { netns, network } of pods) {
      // While nobody answers, as in a restart, the file stays what it was.
      const names = isEnabled() ? settings(network) : undefined;
      if (!names) continue;
      const text = resolvConf(names);
      if (this.#written.get(netns!) === text) continue;
      await this.#files.write(netns!, text);
      this.#written.set(netns!, text);
    }
  }
}

function resolvConf({ nameservers, search }: NameSettings): string {
  return [...nameservers.map((one) => `nameserver ${one}`), `search ${search.join(' ')}`, ''].join('\n');
}
