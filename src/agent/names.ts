/**
 * The responder for names (src/dns) as an agent has it: on the node's own overlay addresses, as long as it has some. Its
 * sockets are bound when the overlay is up, and what answers is loaded with the first question, so that a start does not
 * pay for it. A port that is taken ends nothing: it is a problem to show, and tried again.
 */
import { nodeAddress } from '../attachment/addresses.ts';
import type { Attachments } from '../attachment/attachments.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { ZONE } from '../dns/constants.ts';
import { type DnsCounters, dnsCounters } from '../dns/counters.ts';
import type { Exchange } from '../dns/forwarder.ts';
import type { Asked, Listen, Listener } from '../dns/listener.ts';
import type { NameIndex, NameIndexOptions } from '../dns/name-index.ts';
import type { Responder } from '../dns/responder.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';
import { type Prefix, prefixContains } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import type { DnsReport } from '../readmodel/reports.ts';
import { PodResolvers, type ResolvFiles } from './pod-resolvers.ts';
import { Reconciler } from './reconciler.ts';

/** The sockets and files of names; loaded when the overlay is up. */
export interface NameParts {
  readonly listen: Listen;
  readonly exchange: Exchange;
  /** The host's resolvers, as text; `isOwn`: those are not asked. */
  readonly resolvers: (isOwn: (address: string) => boolean) => Promise<readonly string[]>;
  /** Of pods with a network namespace of their own; absent: they are not told who answers names. */
  readonly files?: (nodeId: string) => ResolvFiles;
}

export type LoadNameParts = () => Promise<NameParts>;

export interface NamesOptions extends NameIndexOptions {
  readonly config: Config['dns'];
  /** Undefined: this agent answers no names. */
  readonly load: LoadNameParts | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly nodeName: string;
  readonly nodeId: string;
  readonly attachments: Pick<Attachments, 'list' | 'on' | 'off'>;
  readonly podRanges: readonly Prefix[];
  /** That the data plane works with. */
  readonly subnets: () => readonly Prefix[];
  /** 0 to 1. */
  readonly random: () => number;
  /** The report may be another now. */
  readonly onChange: () => void;
}

/** What a pod is to be told of names. */
export interface NameSettings {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
}

const PORT = 53;

interface Loaded {
  readonly responder: Responder;
  readonly index: NameIndex;
}

export class Names {
  readonly #options: NamesOptions;
  readonly #reconciler: Reconciler;
  readonly #podResolvers: PodResolvers;
  readonly #counters: DnsCounters = dnsCounters();
  /** By address; one of each family at most. */
  readonly #listeners = new Map<string, Listener>();
  readonly #onAttachment = () => this.#podsChanged();
  #config: Config['dns'];
  #parts: Promise<NameParts> | undefined;
  #loading: Promise<Loaded> | undefined;
  #loaded: Loaded | undefined;

  constructor(options: NamesOptions) {
    this.#options = options;
    this.#config = options.config;
    const { clock, log } = options;
    this.#reconciler = new Reconciler({
      failing: 'names are not answered',
      work: () => this.#follow(),
      clock,
      log,
    });
    this.#podResolvers = new PodResolvers({
      load: async () => (await this.#loadedParts()).files?.(options.nodeId),
      attachments: () => options.attachments.list(),
      settings: (network) => this.settings(network),
      isEnabled: () => this.#isEnabled,
      log,
    });
    options.attachments.on('change', this.#onAttachment);
  }

  /** To be called when the node's subnets may be others. */
  overlayChanged(): void {
    if (this.#options.load) this.#reconciler.request();
  }

  /** Takes over another configuration. */
  configure(config: Config['dns']): void {
    this.#config = config;
    this.overlayChanged();
  }

  async stop(): Promise<void> {
    this.#options.attachments.off('change', this.#onAttachment);
    await this.#podResolvers.stop();
    await this.#reconciler.stop();
    await this.#closeAll();
  }

  problems(): string[] {
    const { problem } = this.#reconciler;
    return problem === undefined ? [] : [problem];
  }

  report(): DnsReport {
    const { queries, forwards, cache } = this.#counters;
    const kept = this.#loaded?.responder.cache;
    return {
      enabled: this.#isEnabled,
      addresses: [...this.#listeners.keys()],
      queries: { ...queries },
      forwards: { ...forwards },
      cache: { ...cache, entries: kept?.size ?? 0, bytes: kept?.bytes ?? 0 },
    };
  }

  /** Where this node answers names, IPv4 if it can; undefined: nowhere. */
  address(): string | undefined {
    if (!this.#isEnabled) return undefined;
    const subnets = this.#options.subnets();
    const subnet = subnets.find(({ family }) => family === 4) ?? subnets[0];
    return subnet && formatAddress(nodeAddress(subnet));
  }

  /** Those that all other names are asked of, as text. */
  async resolvers(): Promise<readonly string[]> {
    const { resolvers } = await this.#loadedParts();
    return this.#config.resolvers?.map(formatAddress) ?? resolvers((text) => this.#isOwn(text));
  }

  /** What an attachment of that network is to be told; undefined: names are not answered here. */
  settings(network: string): NameSettings | undefined {
    if (this.#listeners.size === 0) return undefined;
    return {
      nameservers: [...this.#listeners.keys()],
      search: [network === '' ? ZONE : `${network.toLowerCase()}.${ZONE}`],
    };
  }

  get #isEnabled(): boolean {
    return this.#options.load !== undefined && this.#config.enabled;
  }

  async #follow(): Promise<void> {
    const { subnets, onChange, log } = this.#options;
    const addresses = this.#isEnabled ? subnets().map(nodeAddress) : [];
    const wanted = new Map(addresses.map((address) => [formatAddress(address), address]));
    const before = [...this.#listeners.keys()].join();
    const failed: unknown[] = [];
    for (const [text, listener] of [...this.#listeners]) {
      if (wanted.has(text)) continue;
      this.#listeners.delete(text);
      await listener.close();
    }
    if (wanted.size > 0) {
      const { listen } = await this.#loadedParts();
      const asked: Asked = {
        answer: (bytes, origin) => this.#answer(bytes, origin),
        mayConnect: (from) => this.#isInside(from),
      };
      for (const [text, address] of wanted) {
        if (this.#listeners.has(text)) continue;
        try {
          this.#listeners.set(text, await listen(address, PORT, asked));
        } catch (error) {
          failed.push(error);
        }
      }
    } else {
      this.#unload();
    }
    const now = [...this.#listeners.keys()].join();
    if (now !== before) {
      if (now !== '') log.info({ addresses: now }, 'names are answered');
      onChange();
    }
    this.#podsChanged();
    if (failed.length > 0) throw cannotListen(failed[0]);
  }

  #podsChanged(): void {
    if (this.#options.load) this.#podResolvers.changed();
  }

  #loadedParts(): Promise<NameParts> {
    this.#parts ??= this.#options.load!();
    return this.#parts;
  }

  async #answer(bytes: Uint8Array, origin: Parameters<Responder['answer']>[1]) {
    try {
      this.#loading ??= this.#load();
      const { responder } = await this.#loading;
      return await responder.answer(bytes, origin);
    } catch (error) {
      // The next question tries it again.
      this.#loading = undefined;
      this.#options.log.error({ err: error }, 'a name could not be answered');
      return undefined;
    }
  }

  async #load(): Promise<Loaded> {
    const { inventory, members, mayHave, admits, clock, nodeName, random } = this.#options;
    const { exchange } = await this.#loadedParts();
    const { Responder } = await import('../dns/responder.ts');
    const { NameIndex } = await import('../dns/name-index.ts');
    const index = new NameIndex({ inventory, members, mayHave, admits });
    const responder = new Responder({
      ...{ clock, exchange, random, names: index, counters: this.#counters },
      ranges: () => this.#ranges(),
      node: nodeName.toLowerCase(),
      mayAsk: (from) => this.#isInside(from),
      resolvers: () => this.resolvers(),
    });
    const loaded = { responder, index };
    // It may have been told to stop meanwhile.
    if (this.#listeners.size === 0) closeLoaded(loaded);
    else this.#loaded = loaded;
    return loaded;
  }

  /** Its own answers are no use to it, and those of other nodes would come from here again. */
  #isOwn(text: string): boolean {
    const [plain = ''] = text.split('%');
    return this.#isInside(parseAddress(plain));
  }

  #isInside(address: IpAddress): boolean {
    return this.#ranges().some((range) => prefixContains(range, address));
  }

  /** Where pods and nodes have their addresses. An orchestrator may hand out subnets outside of the pod ranges. */
  #ranges(): readonly Prefix[] {
    return [...this.#options.podRanges, ...this.#options.subnets()];
  }

  #unload(): void {
    if (this.#loaded) closeLoaded(this.#loaded);
    this.#loaded = undefined;
    this.#loading = undefined;
  }

  async #closeAll(): Promise<void> {
    const all = [...this.#listeners.values()];
    this.#listeners.clear();
    for (const listener of all) await listener.close();
    this.#unload();
  }
}

function closeLoaded({ responder, index }: Loaded): void {
  responder.close();
  index.close();
}

const LISTEN_ERRORS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program has port 53 of all addresses',
  EACCES: 'port 53 needs CAP_NET_BIND_SERVICE',
};

function cannotListen(error: unknown): WarrenError {
  const { code = '' } = error as NodeJS.ErrnoException;
  const what = LISTEN_ERRORS[code] ?? errorMessage(error);
  return new WarrenError('DNS_LISTEN_FAILED', `${what} (dns: {enabled: false} does without)`, {
    hint: 'Tell a program that has the port to listen on its own addresses alone; docs/names.md says how.',
    cause: error,
  });
}
