/** What the running agent can be told to do, and what it asks other nodes. */
import type { Commands } from '../api/commands.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { formatPrefix } from '../ip/prefix.ts';
import type { LeaseManager } from '../lease/lease-manager.ts';
import { parseKeyRing } from '../link/key-ring.ts';
import type { Membership } from '../membership/membership.ts';
import type { Member } from '../membership/types.ts';
import type { AllTargets, KeyChange, LeaveReport, NodeTargets, PodReport } from '../readmodel/reports.ts';

/** Nodes that are asked for their pods at the same time. */
const TARGET_REQUESTS = 16;

export interface CommandParts {
  readonly nodeName: string;
  readonly membership: Membership;
  readonly leases: LeaseManager;
  readonly pods: {
    list(): readonly PodReport[];
    add(name: string, options: { readonly netns?: string | undefined }): Promise<PodReport>;
    remove(name: string): Promise<PodReport>;
    /** All of them, static ones too. */
    removeAll(): Promise<void>;
  };
  readonly ownTargets: () => NodeTargets;
  /** This node has left for good. */
  readonly onLeave: () => void;
}

export function agentCommands(parts: CommandParts): Commands {
  const { membership, pods, ownTargets } = parts;
  return {
    addPod: (name, options) => pods.add(name, options),
    removePod: (name) => pods.remove(name),
    allTargets: () => allTargets(membership, ownTargets()),
    forget: (node) => {
      const { name, id, lease } = membership.forget(node);
      return { name, id, subnets: (lease?.prefixes ?? []).map(formatPrefix) };
    },
    leave: ({ force }) => leave(parts, force),
    listKeys: () => membership.keys.list(),
    changeKeys: (change) => changeKeys(membership, change),
  };
}

/** For good: pods go first, then the lease; the agent ends when this has been answered. */
async function leave(
  { nodeName, leases, pods, onLeave }: CommandParts,
  force: boolean,
): Promise<LeaveReport> {
  const names = pods.list().map(({ name }) => name);
  if (names.length > 0 && !force) {
    const shown = names.slice(0, 10).join(', ') + (names.length > 10 ? ', ...' : '');
    throw new WarrenError('LEAVE_PODS', `this node has ${names.length} pods: ${shown}`, {
      hint: 'Remove them first (warren pod rm NAME); or with --force, which removes them.',
    });
  }
  if (names.length > 0) await pods.removeAll();
  const subnets = leases.state().prefixes.map(formatPrefix);
  leases.release();
  onLeave();
  return { name: nodeName, subnets };
}

async function changeKeys(membership: Membership, change: KeyChange): Promise<{ fingerprint: string }> {
  const { keys } = membership;
  const options = { force: change.force === true };
  if (change.action === 'add') {
    const [key] = parseKeyRing(change.key ?? '', 'the request').keys;
    return { fingerprint: keys.add(key!) };
  }
  const fingerprint = change.fingerprint ?? '';
  if (change.action === 'use') await keys.use(fingerprint, options);
  else await keys.remove(fingerprint, options);
  return { fingerprint };
}

async function allTargets(membership: Membership, own: NodeTargets): Promise<AllTargets> {
  const others = membership.members().filter((member) => member.id !== membership.id && isReachable(member));
  const targets: NodeTargets[] = [own];
  const unreachable = membership
    .members()
    .filter(({ status, lease }) => status === 'dead' && lease !== undefined)
    .map(({ name }) => ({ node: name, reason: 'it is dead; `warren forget` it if it will not come back' }));
  const queue = others.values();
  const ask = async (): Promise<void> => {
    for (const member of queue) {
      try {
        targets.push(await membership.request(member.id, 'targets'));
      } catch (error) {
        unreachable.push({ node: member.name, reason: errorMessage(error) });
      }
    }
  };
  await Promise.all(Array.from({ length: TARGET_REQUESTS }, ask));
  const [first, ...rest] = targets;
  return { targets: [first!, ...rest.sort((a, b) => a.node.localeCompare(b.node))], unreachable };
}

function isReachable(member: Member): boolean {
  return member.status === 'alive' || member.status === 'suspect';
}
