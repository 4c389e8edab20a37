/**
 * Policies that were given to this node as documents: kept in its state folder, in force from its start on, and the same on all
 * nodes where whoever changes them sees to it (policy-service.ts). The hash of them all is in the node's record.
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { WarrenError } from '../errors.ts';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';
import { policyKey } from './compile.ts';
import type { PolicyNamespace } from './pods.ts';
import { type NetworkPolicy, networkPolicySchema } from './schema.ts';
import type { PolicySource, SourcedPod } from './source.ts';

export const POLICY_FILE = 'policies.json';
/** Of one node's documents. */
export const MAX_STORED = 4096;
const WHAT = 'its network policies';
const HASH_CHARACTERS = 32;
/** Stands before the documents, so that the result means nothing anywhere else. */
const HASH_CONTEXT = 'warren network policies 1\n';

const schema = z.object({ policies: z.array(networkPolicySchema).max(MAX_STORED) });

export class StoredPolicies implements PolicySource {
  readonly name = 'files';
  readonly #path: string;
  readonly #nodeId: string;
  readonly #listeners = new Set<() => void>();
  /** By `namespace/name`, in that order. Bounded by MAX_STORED. */
  #policies = new Map<string, NetworkPolicy>();

  /** Throws STATE_CORRUPT and the like. */
  constructor({ stateDir, nodeId }: { readonly stateDir: string; readonly nodeId: string }) {
    this.#path = join(stateDir, POLICY_FILE);
    this.#nodeId = nodeId;
    const known = readStateFile(this.#path, schema, WHAT, nodeId)?.policies ?? [];
    this.#policies = sorted(known);
  }

  isReady(): boolean {
    return true;
  }

  *pods(): Iterable<SourcedPod> {}

  *namespaces(): Iterable<PolicyNamespace> {}

  policies(): readonly NetworkPolicy[] {
    return [...this.#policies.values()];
  }

  get(key: string): NetworkPolicy | undefined {
    return this.#policies.get(key);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Undefined where there are none. */
  get hash(): string | undefined {
    return this.#policies.size === 0 ? undefined : hashOf(this.#policies.values());
  }

  /** In place of all that there were. Throws POLICY_LIMIT, STATE_UNWRITABLE. */
  replace(policies: readonly NetworkPolicy[]): void {
    const next = sorted(policies);
    if (next.size > MAX_STORED) {
      throw new WarrenError('POLICY_LIMIT', `${next.size} network policies, and a node keeps ${MAX_STORED}`);
    }
    // Without any the next start is that of a node that has never had one.
    if (next.size === 0) rmSync(this.#path, { force: true });
    else writeStateFile(this.#path, { policies: [...next.values()] }, this.#nodeId);
    this.#policies = next;
    for (const listener of this.#listeners) listener();
  }
}

/** The same for the same documents, in whatever order they and their keys are. */
export function hashOf(policies: Iterable<NetworkPolicy>): string {
  const hash = createHash('sha256').update(HASH_CONTEXT);
  for (const policy of sorted([...policies]).values()) hash.update(`${canonical(policy)}\n`);
  return hash.digest('hex').slice(0, HASH_CHARACTERS);
}

function sorted(policies: readonly NetworkPolicy[]): Map<string, NetworkPolicy> {
  const byKey = new Map(policies.map((policy) => [policyKey(policy), policy]));
  return new Map([...byKey].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
