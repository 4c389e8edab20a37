/** Traffic totals of the data plane as reports show them. */
import type { TrafficTotals } from '../dataplane/dataplane.ts';
import type { DirectionReport } from './reports.ts';

export function directionReports(totals: TrafficTotals): {
  readonly outbound: DirectionReport;
  readonly inbound: DirectionReport;
} {
  return {
    outbound: { packets: totals.outboundPackets, bytes: totals.outboundBytes },
    inbound: { packets: totals.inboundPackets, bytes: totals.inboundBytes },
  };
}
