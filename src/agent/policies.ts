/**
 * Network policies of the agent, loaded when there are some: a node without pays nothing for them. At the start they are needed
 * where the state folder has documents, and in a Kubernetes cluster, which is asked for its own. What other nodes have is compared
 * all the same.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WarrenError } from '../errors.ts';
import type { HostRules } from '../host/rules/host-rules.ts';
import type { PolicyCommands } from '../policy/commands.ts';
import { COUNTED_METHOD, REPLACE_METHOD } from '../policy/method.ts';
import type { PolicyService, PolicyServiceOptions, PolicyStatus } from '../policy/policy-service.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { LateService } from './late-service.ts';

export interface PolicyParts {
  readonly stateDir: string;
}

export interface PoliciesOptions extends Omit<PolicyServiceOptions, 'stateDir' | 'rules' | 'rpc'> {
  readonly rpc: Rpc;
  readonly hostRules: HostRules | undefined;
  /** Gossip and requests go under a cluster key. */
  readonly isSealed: boolean;
}

/** As in policy/stored.ts, which is not loaded for that. */
const POLICY_FILE = 'policies.json';
const SHOWN = 5;

export class Policies {
  /** Undefined: this agent has none. */
  readonly #parts: PolicyParts | undefined;
  readonly #options: PoliciesOptions;
  readonly #service = new LateService(() => this.#load());
  #running: PolicyService | undefined;

  constructor(parts: PolicyParts | undefined, options: PoliciesOptions) {
    this.#parts = parts;
    this.#options = options;
    if (parts === undefined) return;
    options.rpc.serve(REPLACE_METHOD, async (body, caller) => {
      if (!options.isSealed) {
        throw new WarrenError('POLICY_REFUSED', 'this cluster has no key, and anybody could send policies');
      }
      if (!options.admits(caller.id)) {
        throw new WarrenError('POLICY_REFUSED', 'only nodes that take part in forwarding may send policies');
      }
      return (await this.#service.loaded()).replacedBy(body, caller);
    });
    options.rpc.serve(COUNTED_METHOD, async (body, caller) => {
      if (!options.admits(caller.id) || this.#service.asked === undefined) {
        throw new WarrenError(
          'POLICY_REFUSED',
          'this node has no network policies, or tells you nothing of them',
        );
      }
      return (await this.#service.asked).counted(body);
    });
  }

  /** Resolves when what is to be in force is: before that nothing may be attached. Throws STATE_CORRUPT and the like. */
  async start(): Promise<void> {
    if (this.#parts === undefined) return;
    const isNeeded =
      this.#options.cluster !== undefined || existsSync(join(this.#parts.stateDir, POLICY_FILE));
    if (isNeeded) await this.#service.loaded();
  }

  /** The rules stay. */
  async stop(): Promise<void> {
    await this.#service.stop();
  }

  /** Resolves when the rules of a new attachment are in force. Throws POLICY_LATE. */
  async admit(attachment: Parameters<PolicyService['admit']>[0]): Promise<void> {
    await (await this.#service.asked)?.admit(attachment);
  }

  /** Throws NOT_FOUND where there can be none, ATTACHMENTS_CLOSED where the agent stops. */
  commands(): Promise<PolicyCommands> {
    return this.#service.loaded();
  }

  /** What a person should look at, one sentence each. */
  problems(): string[] {
    if (this.#parts === undefined) return [];
    const differing =
      this.#running?.differing() ??
      this.#options
        .others()
        .filter(({ policyHash }) => policyHash !== undefined)
        .map(({ name }) => name);
    const own = this.#running?.problems() ?? [];
    if (differing.length === 0) return own;
    const more = differing.length - SHOWN;
    const names = `${differing.slice(0, SHOWN).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
    return [
      ...own,
      `other network policies than here are on ${names}: ` +
        'run `warren policy apply --all` on a node that has the right ones',
    ];
  }

  /** Undefined where there are none. */
  report(): PolicyStatus | undefined {
    return this.#running?.report();
  }

  async #load(): Promise<PolicyService> {
    const { hostRules, ...options } = this.#options;
    if (this.#parts === undefined || hostRules?.policies === undefined) {
      throw new WarrenError(
        'NOT_FOUND',
        'this agent has no network policies: it leaves the packet filter alone',
      );
    }
    const { PolicyService } = await import('../policy/policy-service.ts');
    const rules = await hostRules.policies();
    const service = new PolicyService({ ...options, ...this.#parts, rules });
    this.#running = service;
    await service.start();
    return service;
  }
}
