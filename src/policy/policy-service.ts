/**
 * Network policies as a part of the agent: documents that people give it, its rules, and the other nodes' documents. All nodes
 * should have the same: each one's hash is in its record, and one command sends a node's documents to all others.
 */

import { gunzipSync, gzipSync } from 'node:zlib';
import pLimit from 'p-limit';
import type { Clock } from '../clock.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import type { PolicyRules } from '../host/rules/host-rules.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import { type AttachedOptions, AttachedPods } from './attached.ts';
import type {
  ExplainReport,
  ExplainRequest,
  PolicyChange,
  PolicyChangeReport,
  PolicyCommands,
  PolicyListReport,
} from './commands.ts';
import { DEFAULT_NAMESPACE, isStaged, namespaceOf, policyKey } from './compile.ts';
import { Denials, type DeniedPackets } from './denials.ts';
import { Enforcer } from './enforcer.ts';
import { answerCounted, type ExplainParts, explain } from './explain.ts';
import { inSteps } from './in-steps.ts';
import { REPLACE_METHOD } from './method.ts';
import { type NetworkPolicy, networkPolicySchema } from './schema.ts';
import { type Labels, selects } from './selector.ts';
import type { ClusterSource, PolicySource } from './source.ts';
import { hashOf, MAX_STORED, StoredPolicies } from './stored.ts';

/** Of all documents, as JSON: ten thousand small ones. It is packed and unpacked at once, which takes milliseconds. */
const MAX_SENT_BYTES = 4 * 1024 * 1024;
const SENT_AT_ONCE = 8;
const SHOWN_DOUBLES = 5;

/** As much of requests between nodes as policies need (rpc/rpc.ts). */
export interface PolicyRpc {
  call(memberId: string, method: string, body: Uint8Array): Promise<Uint8Array[]>;
}

export interface OtherNode {
  readonly id: string;
  readonly name: string;
  readonly policyHash?: string | undefined;
}

export interface PolicyStatus {
  readonly policies: number;
  readonly staged: number;
  readonly denied: readonly DeniedPackets[];
}

export interface PolicyServiceOptions {
  readonly stateDir: string;
  readonly nodeId: string;
  readonly tunName: string;
  /** Addresses of pods are in these, and nobody else's. */
  readonly podRanges: readonly Prefix[];
  readonly rules: PolicyRules;
  readonly attached: Omit<AttachedOptions, 'cluster'>;
  /** Who knows more than files and attachments. */
  readonly cluster?: ClusterSource | undefined;
  readonly rpc: PolicyRpc;
  /** Those that are there and take part in forwarding. */
  readonly others: () => readonly OtherNode[];
  /** Which node has an address, or is there itself. */
  readonly nodeOf: ExplainParts['nodeOf'];
  /** Whether a node takes part in forwarding. */
  readonly admits: (nodeId: string) => boolean;
  /** Has this hash in the node's record. */
  readonly announce: (hash: string | undefined) => void;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onChange: () => void;
}

export class PolicyService implements PolicyCommands {
  readonly #options: PolicyServiceOptions;
  readonly #stored: StoredPolicies;
  readonly #attached: AttachedPods;
  readonly #enforcer: Enforcer;
  readonly #denials: Denials;
  readonly #sources: readonly PolicySource[];
  /** The documents that were sent last, and what the records of those who took them said before. Bounded by the nodes. */
  #taken: { readonly hash: string | undefined; readonly before: ReadonlyMap<string, string | undefined> } = {
    hash: undefined,
    before: new Map(),
  };
  /** The last change; each waits for the one before. */
  #changing: Promise<unknown> = Promise.resolve();

  /** Throws STATE_CORRUPT and the like. */
  constructor(options: PolicyServiceOptions) {
    const { rules, tunName, podRanges, clock, log, onChange, cluster } = options;
    this.#options = options;
    this.#stored = new StoredPolicies(options);
    this.#attached = new AttachedPods({ ...options.attached, cluster });
    // Attachments come and go at once here, and what an orchestrator says of addresses is older.
    this.#sources = [this.#stored, this.#attached, ...(cluster ? [cluster] : [])];
    this.#enforcer = new Enforcer({
      ...{ rules, tunName, podRanges, clock, log, onChange },
      sources: this.#sources,
      local: () => this.#attached.local(),
    });
    this.#denials = new Denials({ rules, clock, log, inForce: () => this.#enforcer.inForce });
  }

  async start(): Promise<void> {
    const { announce, cluster } = this.#options;
    announce(this.#stored.hash);
    if (this.#stored.hash !== undefined) cluster?.needPods();
    cluster?.start();
    await this.#enforcer.start();
    this.#denials.start();
  }

  async stop(): Promise<void> {
    this.#options.cluster?.stop();
    await this.#changing.catch(() => {});
    await this.#denials.stop();
    await this.#enforcer.stop();
  }

  /** See Enforcer. What an orchestrator says of a pod is waited for where a policy of its namespace may select it. */
  admit({ name, labels }: { readonly name: string; readonly labels: Labels }): Promise<void> {
    return this.#enforcer.admit(name, () => {
      const namespace = this.#attached.untold(labels);
      const isSelectable =
        namespace !== undefined && this.#policies().some((one) => namespaceOf(one) === namespace);
      return isSelectable ? `${this.#options.cluster!.name} has not told of it yet` : undefined;
    });
  }

  /** Those of an orchestrator, too. */
  #policies(): readonly NetworkPolicy[] {
    return [...this.#stored.policies(), ...(this.#options.cluster?.policies() ?? [])];
  }

  problems(): string[] {
    const { cluster } = this.#options;
    const doubles = [...(cluster?.policies() ?? [])]
      .map(policyKey)
      .filter((key) => this.#stored.get(key) !== undefined);
    return [
      ...this.#enforcer.problems(),
      ...(cluster?.problems() ?? []),
      ...(doubles.length === 0
        ? []
        : [
            `${doubles.slice(0, SHOWN_DOUBLES).join(', ')} of ${cluster!.name} is not in force: this node was given a policy ` +
              'of the same name by `warren policy apply`, which counts',
          ]),
    ];
  }

  /** For metrics. */
  report(): PolicyStatus {
    const policies = this.#policies();
    return {
      policies: policies.length,
      staged: policies.filter(isStaged).length,
      denied: this.#denials.packets(),
    };
  }

  explain(request: ExplainRequest): Promise<ExplainReport> {
    return explain(request, this.#parts());
  }

  /** Answers another node's question for the counters here. */
  counted(body: Uint8Array): Promise<Uint8Array[]> {
    return answerCounted(body, this.#parts());
  }

  #parts(): ExplainParts {
    const { nodeId, rules, nodeOf, rpc } = this.#options;
    return {
      ...{ nodeId, rules, nodeOf, sources: this.#sources },
      local: () => this.#attached.local(),
      call: (id, method, body) => rpc.call(id, method, body),
    };
  }

  get hash(): string | undefined {
    return this.#stored.hash;
  }

  /** Throws POLICY_INVALID, POLICY_UNKNOWN, POLICY_LIMIT, STATE_UNWRITABLE. */
  change({ apply = [], delete: names = [], all = false }: PolicyChange): Promise<PolicyChangeReport> {
    const { clock } = this.#options;
    return this.#change(async () => {
      const given = await checked(apply, clock);
      const keys = names.map((name) => (name.includes('/') ? name : `${DEFAULT_NAMESPACE}/${name}`));
      const missing = keys.filter((key) => this.#stored.get(key) === undefined);
      if (missing.length > 0) {
        throw this.#unknown(missing);
      }
      if (given.length + keys.length > 0) {
        const kept = this.#stored.policies().filter((policy) => !keys.includes(policyKey(policy)));
        this.#replace([...kept, ...given]);
      }
      const problem = await this.#settle();
      const told = all ? await this.#send() : { sent: [], unreachable: [] };
      return {
        applied: given.map(policyKey),
        deleted: keys,
        ...told,
        differing: all ? [] : this.differing(),
        ...(problem !== undefined && { problem }),
      };
    });
  }

  #unknown(keys: readonly string[]): WarrenError {
    const { cluster } = this.#options;
    const [others] = [...(cluster?.policies() ?? [])].filter((one) => keys.includes(policyKey(one)));
    const hint = others
      ? `${policyKey(others)} is of ${cluster!.name}: kubectl -n ${namespaceOf(others)} delete networkpolicy ${others.metadata.name}`
      : '`warren policy list` shows all. One in another namespace than default is NAMESPACE/NAME.';
    return new WarrenError('POLICY_UNKNOWN', `this node was given no network policy ${keys.join(', ')}`, {
      hint,
    });
  }

  async list(): Promise<PolicyListReport> {
    const { cluster } = this.#options;
    const local = this.#attached.local();
    const denied = this.#denials.packets();
    const entry = (document: NetworkPolicy, source?: string) => {
      const namespace = namespaceOf(document);
      const selector = document.spec?.podSelector ?? {};
      return {
        name: policyKey(document),
        ...(source !== undefined && { source }),
        staged: isStaged(document),
        pods: local.filter(({ pod }) => pod.namespace === namespace && selects(selector, pod.labels)).length,
        denied: denied
          .filter(({ policy }) => policy === policyKey(document))
          .reduce((sum, { packets }) => sum + packets, 0),
        document,
      };
    };
    const policies = [
      ...this.#stored.policies().map((one) => entry(one)),
      ...[...(cluster?.policies() ?? [])]
        .filter((one) => this.#stored.get(policyKey(one)) === undefined)
        .map((one) => entry(one, cluster!.name))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    ];
    return { policies, hash: this.#stored.hash ?? null, differing: this.differing() };
  }

  /** Names of nodes that have other documents, as far as is known. */
  differing(): string[] {
    const { hash } = this.#stored;
    // A node that has just taken ours will say so in a moment.
    const hasTaken = ({ id, policyHash }: OtherNode) =>
      this.#taken.hash === hash && this.#taken.before.has(id) && this.#taken.before.get(id) === policyHash;
    return this.#options
      .others()
      .filter((node) => node.policyHash !== hash && !hasTaken(node))
      .map(({ name }) => name);
  }

  /** What another node wants this one to have. Throws POLICY_REFUSED, POLICY_INVALID and the like. */
  replacedBy(
    body: Uint8Array,
    caller: { readonly id: string; readonly name: string },
  ): Promise<Uint8Array[]> {
    const { admits, log, clock } = this.#options;
    if (!admits(caller.id)) {
      throw new WarrenError('POLICY_REFUSED', 'only nodes that take part in forwarding may send policies');
    }
    return this.#change(async () => {
      const policies = await checked(unpacked(body), clock);
      if (hashOf(policies) !== this.#stored.hash || policies.length === 0) {
        this.#replace(policies);
        log.info(
          { from: caller.name, policies: policies.length },
          'network policies are those of another node',
        );
      }
      await this.#settle();
      return [];
    });
  }

  #replace(policies: readonly NetworkPolicy[]): void {
    const { announce, cluster, onChange } = this.#options;
    this.#stored.replace(policies);
    if (policies.length > 0) cluster?.needPods();
    announce(this.#stored.hash);
    onChange();
  }

  /** Why it is not in force; undefined if it is. */
  async #settle(): Promise<string | undefined> {
    try {
      await this.#enforcer.settled();
      return undefined;
    } catch (error) {
      return errorMessage(error);
    }
  }

  async #send(): Promise<Pick<PolicyChangeReport, 'sent' | 'unreachable'>> {
    const { rpc, others } = this.#options;
    const text = Buffer.from(JSON.stringify(this.#stored.policies()));
    if (text.length > MAX_SENT_BYTES) {
      throw new WarrenError(
        'POLICY_LIMIT',
        `the network policies have ${text.length} bytes, and ${MAX_SENT_BYTES} can be sent`,
        { hint: 'Apply them on each node.' },
      );
    }
    const body = gzipSync(text, { level: 1 });
    const sent: string[] = [];
    const unreachable: { node: string; reason: string }[] = [];
    const before = new Map<string, string | undefined>();
    this.#taken = { hash: this.#stored.hash, before };
    await pLimit(SENT_AT_ONCE).map(others(), async ({ id, name, policyHash }) => {
      try {
        await rpc.call(id, REPLACE_METHOD, body);
        before.set(id, policyHash);
        sent.push(name);
      } catch (error) {
        unreachable.push({ node: name, reason: errorMessage(error) });
      }
    });
    return { sent: sent.sort(), unreachable };
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    const changed = this.#changing.then(work);
    this.#changing = changed.catch(() => {});
    return changed;
  }
}

function unpacked(body: Uint8Array): unknown[] {
  try {
    const text = gunzipSync(body, { maxOutputLength: MAX_SENT_BYTES });
    const value: unknown = JSON.parse(text.toString('utf8'));
    if (Array.isArray(value)) return value;
  } catch {
    // Said below.
  }
  throw new WarrenError('POLICY_INVALID', 'what was sent are no network policies');
}

/** Throws POLICY_INVALID: of a file it is the command that says what is wrong where. */
function checked(documents: readonly unknown[], clock: Clock): Promise<NetworkPolicy[]> {
  if (documents.length > MAX_STORED)
    throw new WarrenError(
      'POLICY_LIMIT',
      `${documents.length} network policies, and a node keeps ${MAX_STORED}`,
    );
  return inSteps(
    (function* () {
      const policies: NetworkPolicy[] = [];
      for (const [i, document] of documents.entries()) {
        const read = networkPolicySchema.safeParse(document);
        if (!read.success) {
          const [issue] = read.error.issues;
          const where = issue!.path.length === 0 ? '' : ` ${issue!.path.join('.')}:`;
          throw new WarrenError('POLICY_INVALID', `document ${i + 1}:${where} ${issue!.message}`);
        }
        policies.push(read.data);
        yield;
      }
      return policies;
    })(),
    clock,
  );
}
