/** What the running agent can be told to do, and what it asks other nodes. */
import type { NodeCommands } from '../admission/node-commands.ts';
import type { Commands } from '../api/commands.ts';
import type { Attachments } from '../attachment/attachments.ts';
import type { Captures } from '../capture/captures.ts';
import type { CniCommands } from '../cni/messages.ts';
import type { DockerCommands } from '../docker/commands.ts';
import { WarrenError } from '../errors.ts';
import type { Guests } from '../guest/guests.ts';
import { formatPrefix, type Prefix } from '../ip/prefix.ts';
import type { KeyCommands } from '../keys/key-commands.ts';
import type { LeaseSource } from '../lease/lease-source.ts';
import { parseKeyRing } from '../link/key-ring.ts';
import type { Membership } from '../membership/membership.ts';
import type { PodManager } from '../pod/pod-manager.ts';
import type { PolicyCommands } from '../policy/commands.ts';
import type { RespondersReport } from '../readmodel/check-reports.ts';
import type {
  KeyChange,
  LeaveReport,
  NodeTargets,
  ReloadReport,
  SysdumpReport,
} from '../readmodel/reports.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { askAllTargets } from '../rpc/targets.ts';
import type { Traces } from '../trace/traces.ts';

export interface CommandParts {
  readonly nodeName: string;
  readonly membership: Membership;
  readonly leases: LeaseSource;
  readonly pods: PodManager;
  readonly attachments: Attachments;
  readonly guests: Guests;
  readonly keys: KeyCommands;
  readonly nodes: NodeCommands;
  /** Whether the node with this id takes part in forwarding. */
  readonly admits: (nodeId: string) => boolean;
  readonly rpc: Rpc;
  readonly ownTargets: () => NodeTargets;
  /** Those that pods get addresses of; empty before the data plane is active. */
  readonly subnets: () => readonly Prefix[];
  readonly cni: () => Promise<CniCommands>;
  readonly docker: () => Promise<DockerCommands>;
  readonly policies: () => Promise<PolicyCommands>;
  /** Undefined: this agent answers no checks. */
  readonly responders: ((seconds: number) => Promise<RespondersReport>) | undefined;
  /** Undefined: this agent captures nothing. */
  readonly captures: (() => Promise<Captures>) | undefined;
  /** Undefined: this agent traces nothing. */
  readonly traces: (() => Promise<Traces>) | undefined;
  readonly links: Commands['links'];
  /** Undefined: this agent makes none. */
  readonly sysdump: ((all: boolean) => Promise<SysdumpReport>) | undefined;
  readonly reload: () => Promise<ReloadReport>;
  /** This node has left for good. */
  readonly onLeave: () => void;
}

export function agentCommands(parts: CommandParts): Commands {
  const { membership, pods, guests, keys, nodes, rpc, ownTargets, admits } = parts;
  return {
    addPod: async (name, options) => {
      refuseWithoutSubnet(parts);
      return pods.add(name, options);
    },
    removePod: (name) => pods.remove(name),
    listWireguardPeers: () => guests.list(),
    showWireguardPeer: (name) => guests.show(name),
    addWireguardPeer: async (request) => {
      refuseWithoutSubnet(parts);
      return guests.add(request);
    },
    removeWireguardPeer: (name) => guests.remove(name),
    allTargets: async () => {
      const { targets, unreachable } = await askAllTargets(
        rpc,
        membership.others().filter(({ id }) => admits(id)),
      );
      const dead = membership
        .members()
        .filter(({ id, status, lease }) => status === 'dead' && lease !== undefined && admits(id))
        .map(({ name }) => ({
          node: name,
          reason: 'it is dead; `warren forget` it if it will not come back',
        }));
      return { targets: [ownTargets(), ...targets], unreachable: [...dead, ...unreachable] };
    },
    forget: (node) => {
      const { name, id, lease } = membership.forget(node);
      return { name, id, subnets: (lease?.prefixes ?? []).map(formatPrefix) };
    },
    leave: ({ force }) => leave(parts, force),
    sysdump: async ({ all }) => {
      if (parts.sysdump) return parts.sysdump(all);
      throw new WarrenError('NOT_FOUND', 'this agent makes no sysdumps');
    },
    respond: async (seconds) => {
      if (parts.responders) return parts.responders(seconds);
      throw new WarrenError('NOT_FOUND', 'this agent answers no checks');
    },
    capture: async (request, signal) => {
      if (parts.captures) return (await parts.captures()).run(request, signal);
      throw new WarrenError('NOT_FOUND', 'this agent captures nothing');
    },
    trace: async (request, signal) => {
      if (parts.traces) return (await parts.traces()).run(request, signal);
      throw new WarrenError('NOT_FOUND', 'this agent traces nothing');
    },
    links: parts.links,
    reload: parts.reload,
    cni: parts.cni,
    docker: parts.docker,
    policies: parts.policies,
    listKeys: () => keys.list(),
    changeKeys: (change) => changeKeys(keys, change),
    listNodes: () => nodes.list(),
    changeNodes: (change) => nodes.change(change),
  };
}

/** Right after a change of lease the old subnet is still in use: a pod would get an address from there. */
export function refuseWithoutSubnet({ leases, subnets }: Pick<CommandParts, 'leases' | 'subnets'>): void {
  const { status, prefixes } = leases.state();
  const text = (some: readonly Prefix[]) => some.map(formatPrefix).join(' ');
  if (status === 'active' && text(prefixes) === text(subnets())) return;
  throw new WarrenError('NO_SUBNET', `this node has no subnet yet (its lease is ${status})`, {
    hint: 'See `warren status`.',
  });
}

/** For good: pods go first, then the lease; the agent ends when this has been answered. */
async function leave(
  { nodeName, leases, attachments, onLeave }: CommandParts,
  force: boolean,
): Promise<LeaveReport> {
  const names = attachments.list().map(({ name }) => name);
  if (names.length > 0 && !force) {
    const shown = names.slice(0, 10).join(', ') + (names.length > 10 ? ', ...' : '');
    throw new WarrenError('LEAVE_PODS', `this node has ${names.length} pods: ${shown}`, {
      hint: 'Remove them first (warren pod rm NAME, warren peer rm NAME); or with --force, which removes them.',
    });
  }
  if (names.length > 0) await attachments.deleteAll();
  const subnets = leases.state().prefixes.map(formatPrefix);
  leases.release();
  onLeave();
  return { name: nodeName, subnets };
}

async function changeKeys(keys: KeyCommands, change: KeyChange): Promise<{ fingerprint: string }> {
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
