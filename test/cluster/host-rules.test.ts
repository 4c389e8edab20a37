/** What an agent asks of the host's packet filter, and what it does where that fails. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WarrenError } from '../../src/errors.ts';
import type { HostRules } from '../../src/host/rules/host-rules.ts';
import { World } from './world.ts';

let world: World;
let rules: MemoryRules;

class MemoryRules implements HostRules {
  readonly applied: unknown[] = [];
  failure: Error | undefined;
  damage = 0;
  #onDamage: (() => void) | undefined;

  async apply(egress: unknown): Promise<void> {
    if (this.failure) throw this.failure;
    this.applied.push(egress);
  }
  async isolate(): Promise<void> {}
  async isolated(): Promise<ReadonlyMap<string, readonly string[]>> {
    return new Map();
  }
  async repair(): Promise<number> {
    if (this.failure) throw this.failure;
    const count = this.damage;
    this.damage = 0;
    return count;
  }
  watch(onDamage: () => void): { stop(): void } {
    this.#onDamage = onDamage;
    return { stop: () => (this.#onDamage = undefined) };
  }
  problems(): string[] {
    return ['a firewall stands in the way'];
  }
  get isWatched(): boolean {
    return this.#onDamage !== undefined;
  }
  flush(): void {
    this.damage = 1;
    this.#onDamage?.();
  }
}

const missing = new WarrenError('TOOL_MISSING', 'the program nft is not installed');

beforeEach(() => {
  world = new World(1);
  rules = new MemoryRules();
});
afterEach(() => world.stop());

const cluster = (yaml: string) => world.cluster(1, { yaml, hostRules: rules });

describe('the rules of the host', () => {
  it('are what the configuration says, put back within 2 s and counted', async () => {
    const [node] = await cluster('egress: {masquerade: true}');
    expect(rules.applied).toEqual([{ masquerade: true, except: [] }]);
    expect(node!.model.status().cluster.problems).toContain('a firewall stands in the way');
    const before = node!.model.status().repairs;
    rules.flush();
    await world.advance(2000);
    expect(node!.model.status().repairs).toEqual({ ...before, rule: 1 });
    await node!.stop();
    expect(rules.isWatched).toBe(false);
  });

  it('follow a configuration that is read again', async () => {
    const [node] = await cluster('');
    node!.configFile = () => node!.config('egress: {masquerade: true, except: [10.9.0.0/16]}');
    expect(await node!.commands.reload()).toEqual({
      changed: ['egress.masquerade', 'egress.except'],
      needsRestart: [],
    });
    await world.advance(100);
    expect(rules.applied).toMatchObject([
      { masquerade: false },
      { masquerade: true, except: [{ length: 16 }] },
    ]);
  });

  it('end the agent at its start where a way out was asked for and cannot be made', async () => {
    rules.failure = missing;
    const [node] = await cluster('egress: {masquerade: true}');
    expect(node!.errors).toEqual([missing]);
  });

  it('are a problem and no more where none was asked for, or while the agent runs', async () => {
    rules.failure = missing;
    const [node] = await cluster('');
    expect(node!.errors).toEqual([]);
    expect(node!.model.status().cluster.problems.join()).toContain('the program nft is not installed');
    rules.failure = undefined;
    await world.advance(20_000);
    expect(node!.model.status().cluster.problems).toEqual(['a firewall stands in the way']);
    rules.failure = missing;
    rules.flush();
    await world.advance(2000);
    expect(node!.errors).toEqual([]);
    expect(node!.model.status().cluster.problems).toContain('the program nft is not installed');
  });
});
