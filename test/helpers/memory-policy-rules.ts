/** The packet filter's part of policies in memory: what was applied last. It outlives an agent, as the kernel's does. */
import type {
  CountedRule,
  DeniedConnection,
  HostRules,
  PolicyRules,
} from '../../src/host/rules/host-rules.ts';
import type { RenderedState } from '../../src/host/rules/nft-difference.ts';

export class MemoryPolicyRules implements PolicyRules {
  state: RenderedState = { sets: new Map(), chains: new Map() };
  applied = 0;
  failure: Error | undefined;
  readonly counters = new Map<string, number>();
  connections: Record<'denied' | 'trial', readonly DeniedConnection[]> = { denied: [], trial: [] };
  readonly rules = new Map<string, readonly CountedRule[]>();

  async apply(state: RenderedState): Promise<void> {
    if (this.failure) throw this.failure;
    this.state = state;
    this.applied++;
  }

  async left(): Promise<ReadonlyMap<string, readonly string[]>> {
    return new Map([...this.state.sets].map(([name, { elements }]) => [name, [...elements]]));
  }

  counts(): ReadonlyMap<string, number> {
    return new Map(this.counters);
  }

  async denied(which: 'denied' | 'trial'): Promise<readonly DeniedConnection[]> {
    return this.connections[which];
  }

  async rulesOf(interfaceName: string, short: 'in' | 'out'): Promise<readonly CountedRule[]> {
    return this.rules.get(`${short}_${interfaceName}`) ?? [];
  }

  /** Interfaces that have rules. */
  get policed(): string[] {
    const found = [...this.state.sets].find(([name]) => name.endsWith('_policed'))?.[1].elements ?? [];
    return [...found].map((one) => one.replaceAll('"', '')).sort();
  }

  /** All IPv4 addresses in sets of pods. */
  get letThrough(): string[] {
    const found = [...this.state.sets].filter(([name]) => /_pods4_/.test(name));
    return [...new Set(found.flatMap(([, { elements }]) => [...elements]))].sort();
  }
}

/** A packet filter that has nothing but policies. */
export class MemoryRulesWithPolicies implements HostRules {
  readonly memory = new MemoryPolicyRules();
  async apply(): Promise<void> {}
  async isolate(): Promise<void> {}
  async isolated(): Promise<ReadonlyMap<string, readonly string[]>> {
    return new Map();
  }
  async policies(): Promise<PolicyRules> {
    return this.memory;
  }
  async repair(): Promise<number> {
    return 0;
  }
  watch(): { stop(): void } {
    return { stop: () => {} };
  }
  problems(): string[] {
    return [];
  }
}
