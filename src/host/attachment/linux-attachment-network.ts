/**
 * The port between attachments and the host on Linux: everything by netlink and plain files, on a thread of its own.
 * Nothing is spawned but `nft`, once, and where /proc/sys is read-only.
 */
import type { AttachmentLink, AttachmentNetwork } from '../../attachment/link.ts';
import { type Clock, realClock } from '../../clock.ts';
import { netnsIdentity } from '../netns.ts';
import { NamespaceThread, type NamespaceThreadOptions } from './namespace-thread.ts';
import { SOURCE_CHECK, type SourceCheckMode, type SourceCheckState } from './thread-messages.ts';

/** nftables may be installed meanwhile. */
const RETRY_CHECK_MS = 60_000;

export type LinuxAttachmentNetworkOptions = NamespaceThreadOptions;

export class LinuxAttachmentNetwork implements AttachmentNetwork {
  readonly #options: LinuxAttachmentNetworkOptions;
  readonly #clock: Clock;
  readonly #thread: NamespaceThread;
  /** This process has asked for the table: another version's is brought up to date once. */
  #isTableAskedFor = false;
  #problem: { readonly text: string; readonly sinceMs: number } | undefined;

  constructor(options: LinuxAttachmentNetworkOptions) {
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#thread = new NamespaceThread(options);
  }

  async ensure(link: AttachmentLink): Promise<void> {
    const mode = this.#modeForEnsure();
    if (mode === SOURCE_CHECK.make) this.#isTableAskedFor = true;
    try {
      const state = await this.#thread.call('ensure', link, mode);
      if (mode !== SOURCE_CHECK.off) this.#heard(state);
    } catch (error) {
      if (mode === SOURCE_CHECK.make) this.#isTableAskedFor = false;
      throw error;
    }
  }

  async remove({ hostInterface }: Pick<AttachmentLink, 'hostInterface' | 'addresses'>): Promise<void> {
    await this.#thread.call('remove', hostInterface, SOURCE_CHECK.on);
  }

  async findDamaged(links: readonly AttachmentLink[]): Promise<AttachmentLink[]> {
    if (links.length === 0) return [];
    const mode = this.#problem === undefined ? SOURCE_CHECK.on : SOURCE_CHECK.off;
    const places = await this.#thread.call('findDamaged', links, mode);
    return places.map((place) => links[place]!);
  }

  findInnerDamage(link: AttachmentLink): Promise<string | undefined> {
    return this.#thread.call('findInnerDamage', link);
  }

  async addNamespace(name: string): Promise<void> {
    await this.#thread.call('addNamespace', name);
  }

  async removeNamespace(name: string): Promise<void> {
    await this.#thread.call('removeNamespace', name);
  }

  identityOf(path: string): string | undefined {
    return netnsIdentity(path);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }

  /** What does not work as it should here, for a person to read; none of it keeps attachments from working. */
  problems(): string[] {
    return this.#problem === undefined ? [] : [this.#problem.text];
  }

  /** Packets from attachments that had a source that is not theirs, dropped since the table was made. */
  countForeignSources(): Promise<number> {
    return this.#thread.call('countDropped');
  }

  /** Removes our nftables table, unless attachments of another agent in this namespace are in it. */
  async removeTable(): Promise<void> {
    await this.#thread.call('removeTable');
  }

  #modeForEnsure(): SourceCheckMode {
    if (this.#problem !== undefined) {
      const isDue = this.#clock.now() - this.#problem.sinceMs >= RETRY_CHECK_MS;
      return isDue ? SOURCE_CHECK.make : SOURCE_CHECK.off;
    }
    return this.#isTableAskedFor ? SOURCE_CHECK.on : SOURCE_CHECK.make;
  }

  #heard({ problem }: SourceCheckState): void {
    if (problem !== undefined && problem !== this.#problem?.text) this.#options.log.warn(problem);
    this.#problem = problem === undefined ? undefined : { text: problem, sinceMs: this.#clock.now() };
  }
}
