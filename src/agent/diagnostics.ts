/** What people look into an agent and its cluster with: checks, captures, traces, sysdumps and the rates of links. */
import type { Admission } from '../admission/admission.ts';
import type { Attachments } from '../attachment/attachments.ts';
import type { Config } from '../config/config.ts';
import type { DataPlane } from '../dataplane/dataplane.ts';
import type { History } from '../history/history.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Membership } from '../membership/membership.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { RpcNode } from '../rpc/rpc-node.ts';
import { servedCaptures } from './capture.ts';
import { servedResponders } from './check.ts';
import { servedLinks } from './cluster-links.ts';
import type { CommandParts } from './commands.ts';
import type { AgentParts } from './parts.ts';
import { servedSysdumps } from './sysdump.ts';
import { servedTraces } from './trace.ts';

export interface DiagnosedParts {
  readonly rpc: RpcNode;
  readonly model: ReadModel;
  readonly dataPlane: DataPlane;
  readonly attachments: Attachments;
  readonly membership: Membership;
  readonly admission: Admission;
  readonly history: History;
  readonly config: () => Config;
  readonly subnets: () => readonly Prefix[];
}

export interface Diagnostics {
  readonly commands: Pick<CommandParts, 'responders' | 'captures' | 'traces' | 'sysdump' | 'links'>;
  stop(): Promise<void>;
}

/** Serves other nodes from now on. */
export function servedDiagnostics(parts: AgentParts, diagnosed: DiagnosedParts): Diagnostics {
  const { rpc, model, dataPlane, attachments, membership, admission, history, config, subnets } = diagnosed;
  const admits = (id: string) => admission.admits(id);
  const others = () => membership.others();
  const admitted = () => others().filter(({ id }) => admits(id));
  const traces = servedTraces(parts, {
    ...{ rpc, model, dataPlane, attachments, subnets, admits },
    nodeName: config().node.name,
    gossipOf: (id) => membership.contact(id)?.gossip,
    member: (name) => {
      const found = membership.members().find((one) => one.name === name);
      if (!found) return undefined;
      const standing = admits(found.id) ? 'approved' : admission.standing(found.id);
      return { status: found.status, admission: standing };
    },
  });
  return {
    commands: {
      responders: servedResponders(parts, { rpc, model, admits, others: admitted }),
      captures: servedCaptures(parts, {
        ...{ rpc, model, dataPlane, config, subnets, admits },
        others: admitted,
      }),
      traces: traces?.loaded,
      sysdump: servedSysdumps(parts, { rpc, model, config, others }),
      links: servedLinks(
        {
          ...{ rpc, others, clock: parts.clock, selfId: membership.id },
          isSealed: parts.state.keys !== undefined,
        },
        history,
        parts.links,
      ),
    },
    stop: async () => traces?.stop(),
  };
}
