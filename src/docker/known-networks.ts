/**
 * What networks of an engine are called on all hosts. It is remembered beyond the agent's and the engine's life: an engine that
 * starts containers as it starts does not say it, since it answers nobody yet.
 */
import type { NetworkFacts } from './describe.ts';
import { networkFacts } from './describe.ts';
import type { DockerEngine, EngineNetwork } from './engine.ts';

const MAX_NETWORKS = 1024;

export interface KnownNetworksOptions {
  readonly engine: Pick<DockerEngine, 'network'>;
  readonly remembered: Readonly<Record<string, NetworkFacts>>;
  readonly remember: (all: Readonly<Record<string, NetworkFacts>>) => void;
}

export class KnownNetworks {
  readonly #options: KnownNetworksOptions;
  /** By the engine's id; what was learned longest ago goes first. Bounded by MAX_NETWORKS. */
  readonly #facts: Map<string, NetworkFacts>;

  constructor(options: KnownNetworksOptions) {
    this.#options = options;
    this.#facts = new Map(Object.entries(options.remembered));
  }

  get(id: string): NetworkFacts | undefined {
    return this.#facts.get(id);
  }

  /** Where nobody says, a network is called by its id, and so is one that nobody else is on. */
  async factsOf(id: string): Promise<NetworkFacts> {
    const known = this.#facts.get(id);
    if (known !== undefined) return known;
    const found = await this.#options.engine.network(id).catch(() => undefined);
    if (found === undefined) return { name: id, reach: '' };
    this.#set(id, networkFacts(found));
    this.#remember();
    return this.#facts.get(id)!;
  }

  /** All that the engine has. */
  learn(networks: readonly EngineNetwork[]): void {
    const before = JSON.stringify([...this.#facts]);
    const ids = new Set(networks.map(({ Id }) => Id));
    for (const id of this.#facts.keys()) if (!ids.has(id)) this.#facts.delete(id);
    for (const network of networks) this.#set(network.Id, networkFacts(network));
    if (JSON.stringify([...this.#facts]) !== before) this.#remember();
  }

  forget(id: string): void {
    if (this.#facts.delete(id)) this.#remember();
  }

  #set(id: string, facts: NetworkFacts): void {
    const isNew = !this.#facts.has(id);
    if (isNew && this.#facts.size >= MAX_NETWORKS) this.#facts.delete([...this.#facts.keys()][0]!);
    this.#facts.set(id, facts);
  }

  #remember(): void {
    this.#options.remember(Object.fromEntries(this.#facts));
  }
}
