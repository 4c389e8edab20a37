/**
 * Whether this node does what it is there for, as orchestrators and load balancers ask. `live` is what a restart of the
 * agent may put right, `ready` all that keeps pods from being reached.
 */
import type { StatusReport } from './reports.ts';

export interface Health {
  /** Why it is not, one line each; empty when all is well. */
  readonly live: readonly string[];
  readonly ready: readonly string[];
}

export function healthOf({ lease, datapath }: Pick<StatusReport, 'lease' | 'datapath'>): Health {
  const { active, workers, stuckWorkers } = datapath;
  const live = stuckWorkers === 0 ? [] : [stuckText(workers, stuckWorkers)];
  const ready = lease.status === 'active' ? [] : [`lease ${lease.status}`];
  if (!active) ready.push('no packets flow: the data plane is not active');
  return { live, ready };
}

export function stuckText(workers: number, stuckWorkers: number): string {
  const verb = stuckWorkers === 1 ? 'does' : 'do';
  return `${stuckWorkers} of ${workers} packet path threads ${verb} not answer`;
}
