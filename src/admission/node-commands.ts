/** What `warren node` does: it shows who may take part in forwarding, and on an approver changes it. */
import { WarrenError } from '../errors.ts';
import type { Admission, Standing } from './admission.ts';
import type { SignedStatement, Verdict } from './statement.ts';

export interface NodeCommandsOptions {
  readonly admission: Admission;
  /** All members that are known, this node included. */
  readonly members: () => readonly KnownNode[];
  /** This node's id. */
  readonly ownId: string;
  /** This has been said here: tell the others. */
  readonly announce: (said: readonly SignedStatement[]) => void;
}

interface KnownNode {
  readonly id: string;
  readonly name: string;
  readonly status: 'alive' | 'suspect' | 'dead' | 'left';
}

export interface NodeList {
  readonly mode: 'open' | 'allowlist';
  /** Ids, as they are configured on this node. */
  readonly approvers: readonly string[];
  readonly nodes: readonly ListedNode[];
}

export interface ListedNode {
  readonly name: string;
  readonly id: string;
  /** `absent`: no member, and an approver has said something about it. */
  readonly status: KnownNode['status'] | 'absent';
  readonly admission: Standing;
  /** Whether it takes part in forwarding: with admission `open` one that is pending does too. */
  readonly admitted: boolean;
  readonly approver: boolean;
  readonly self: boolean;
  /** Who said so last, by name, or by id where that is not known; absent: nobody has said anything. */
  readonly by?: string;
  /** When, on the clock of who said it: ISO 8601. */
  readonly at?: string;
}

export interface NodeChange {
  readonly action: 'approve' | 'revoke';
  /** Names or ids. */
  readonly nodes?: readonly string[] | undefined;
  /** `approve` alone: every member that is not revoked and that this approver has not approved. */
  readonly all?: boolean | undefined;
}

/** By name and id; empty: there was nothing to do. */
export type ChangedNodesReport = readonly { readonly name: string; readonly id: string }[];

const NODE_ID = /^[0-9a-f]{32}$/;

export class NodeCommands {
  readonly #options: NodeCommandsOptions;

  constructor(options: NodeCommandsOptions) {
    this.#options = options;
  }

  list(): NodeList {
    const { admission, ownId } = this.#options;
    const members = new Map(this.#options.members().map((member) => [member.id, member]));
    const { mode, approvers } = admission.rules;
    const ids = new Set([...members.keys(), ...admission.nodes(), ...approvers]);
    const nameOf = (id: string) => members.get(id)?.name ?? (admission.about(id)?.name || id);
    const nodes = [...ids].map((id): ListedNode => {
      const said = admission.about(id);
      return {
        name: nameOf(id),
        id,
        status: members.get(id)?.status ?? 'absent',
        admission: admission.standing(id),
        admitted: admission.admits(id),
        approver: approvers.includes(id),
        self: id === ownId,
        ...(said && { by: nameOf(said.approver), at: new Date(said.atSeconds * 1000).toISOString() }),
      };
    });
    nodes.sort((a, b) => (a.name === b.name ? compare(a.id, b.id) : compare(a.name, b.name)));
    return { mode, approvers, nodes };
  }

  /** Throws ADMISSION_NOT_APPROVER, ADMISSION_SELF, ADMISSION_LIMIT, MEMBER_UNKNOWN, MEMBER_AMBIGUOUS, STATE_UNWRITABLE. */
  change({ action, nodes = [], all }: NodeChange): ChangedNodesReport {
    const verdict: Verdict = action === 'approve' ? 'approved' : 'revoked';
    const found = [...new Map(nodes.map((node) => this.#find(node)).map((node) => [node.id, node])).values()];
    if (all && verdict === 'approved') found.push(...this.#notApprovedHere());
    const { admission, announce } = this.#options;
    announce(admission.say(verdict, found));
    return found;
  }

  #notApprovedHere(): { id: string; name: string }[] {
    const { admission, ownId } = this.#options;
    return this.#options
      .members()
      .filter(({ id, status }) => id !== ownId && (status === 'alive' || status === 'suspect'))
      .filter(({ id }) => admission.standing(id) !== 'revoked' && !admission.hasSaid(id, 'approved'))
      .map(({ id, name }) => ({ id, name }));
  }

  /** One that is no member may be named by its id: it can be approved before it joins. */
  #find(node: string): { readonly id: string; readonly name: string } {
    const known = this.list().nodes;
    const found = known.filter(({ id, name }) => id === node || name === node);
    const [one] = found;
    if (found.length > 1) {
      throw new WarrenError('MEMBER_AMBIGUOUS', `${found.length} nodes are called ${node}`, {
        hint: `Name the one by its id: ${found.map(({ id }) => id).join(', ')}`,
      });
    }
    if (one) return { id: one.id, name: one.name === one.id ? '' : one.name };
    if (NODE_ID.test(node)) return { id: node, name: '' };
    throw new WarrenError('MEMBER_UNKNOWN', `there is no node ${node}`, {
      hint: '`warren node list` shows those that there are; one that is yet to join is named by its id.',
    });
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
