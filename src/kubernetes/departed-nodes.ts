/**
 * Members whose Node was deleted. The subnet of one whose agent still runs stays its own: pods may run in it, and whoever was
 * given the subnet meanwhile waits; that is a problem to be shown. Once the agent is dead or has left, the member is forgotten,
 * which frees its subnet at once instead of after cluster.leaseTtl.
 *
 *     Node deleted --> agent runs: a problem --> dead or left --> forgotten, after a while, by one of the others
 *          |
 *          +---- a Node of that name or address comes: as if nothing had been
 *
 * Nodes outside of Kubernetes never had a Node, so nothing of this is about them.
 */
import { type Clock, type Timer, TimerGroup } from '../clock.ts';
import { formatPrefix } from '../ip/prefix.ts';
import type { Member } from '../membership/types.ts';

/** A Node may be made anew, and an agent that is held for dead may be there after all. */
const GRACE_MS = 30_000;
/** The first by id of the members here forgets it, the next one if that did not; what many do at once costs gossip. */
const TURN_MS = 10_000;
const MAX_TURNS = 12;
/** More problems would not be read. */
const MAX_PROBLEMS = 10;

export interface DepartedNodesOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly selfId: string;
  readonly members: () => readonly Member[];
  readonly member: (id: string) => Member | undefined;
  /** Whether a member runs on a Node now. */
  readonly hasNode: (member: Member) => boolean;
  /** Throws where the member cannot be forgotten. */
  readonly forget: (id: string) => void;
  readonly onForgotten: (member: Member) => void;
}

interface Departed {
  /** What its Node was called. */
  readonly node: string;
  timer: Timer | undefined;
}

export class DepartedNodes {
  readonly #options: DepartedNodesOptions;
  readonly #timers: TimerGroup;
  /** By the member's id; bounded by the member table. */
  readonly #departed = new Map<string, Departed>();

  constructor(options: DepartedNodesOptions) {
    this.#options = options;
    this.#timers = new TimerGroup(options.clock);
  }

  /** The Node of this member was deleted. */
  add(member: Member, node: string): void {
    if (member.id === this.#options.selfId || this.#departed.has(member.id)) return;
    this.#departed.set(member.id, { node, timer: undefined });
    this.look();
  }

  /** To be called when Nodes or members may be others than before. Costs nothing where nobody has departed. */
  look(): void {
    const { member, hasNode } = this.#options;
    for (const [id, departed] of this.#departed) {
      const now = member(id);
      if (!now || hasNode(now)) {
        departed.timer?.cancel();
        this.#departed.delete(id);
      } else if (now.status === 'alive' || now.status === 'suspect') {
        departed.timer?.cancel();
        departed.timer = undefined;
      } else {
        departed.timer ??= this.#timers.after(this.#delayMs(), () => this.#forget(id, departed));
      }
    }
  }

  problems(): string[] {
    const problems: string[] = [];
    for (const [id, { node }] of this.#departed) {
      const now = this.#options.member(id);
      if (!now?.lease || (now.status !== 'alive' && now.status !== 'suspect')) continue;
      const subnets = now.lease.prefixes.map(formatPrefix).join(' and ');
      problems.push(
        `Node ${node} was deleted, and its agent still runs and keeps ${subnets}: drain it, then stop the agent there, or \`warren leave\``,
      );
      if (problems.length === MAX_PROBLEMS) break;
    }
    return problems;
  }

  stop(): void {
    this.#timers.close();
  }

  #delayMs(): number {
    const { members, selfId, hasNode, random } = this.#options;
    let turn = 0;
    for (const member of members()) {
      if (member.id < selfId && member.status === 'alive' && hasNode(member)) turn++;
    }
    return GRACE_MS + TURN_MS * (Math.min(turn, MAX_TURNS) + random());
  }

  #forget(id: string, departed: Departed): void {
    const { member, hasNode, forget, onForgotten } = this.#options;
    departed.timer = undefined;
    const now = member(id);
    if (now && !hasNode(now) && (now.status === 'dead' || now.status === 'left')) {
      try {
        forget(id);
        onForgotten(now);
      } catch {
        // It is back in this very moment, or another one has forgotten it: `look` says which.
      }
    }
    this.look();
  }
}
