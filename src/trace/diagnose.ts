/**
 * From what two nodes have seen to where a packet died, and why. Pure: it asks nobody, and the same observations give the same
 * verdict. A packet that was seen somewhere has come there, whatever else is known; only from there on it is asked what
 * stopped it: first whoever says so (a rule, a counter, an error), then what the host says of its routes and links. What is
 * inferred is said to be so.
 *
 *     from pod -> node's routing and rules -> TUN -> packet path -> underlay -> packet path -> TUN -> routing, rules -> pod
 */
import { stepsOf } from './describe-steps.ts';
import { isMissing, type NodeObservation, type TraceInput, type TraceReport, type Verdict } from './model.ts';
import { progressOf } from './progress.ts';
import { leftSource, onDestinationUnderlay } from './verdicts-arrival.ts';
import { reachedPod } from './verdicts-delivery.ts';
import { afterTunnel, onSourceNode } from './verdicts-host.ts';
import { inPacketPath } from './verdicts-outbound.ts';
import { inSourcePod } from './verdicts-pod.ts';

export function diagnose(input: TraceInput): TraceReport {
  const { flow, from, to, source, destination } = input;
  const verdict = verdictOf(input);
  return {
    ...{ from, to, flow, verdict, arrives: verdict.arrives },
    line: lineOf(input, verdict),
    steps: stepsOf(input, verdict),
    observations: destination === null ? [source] : [source, destination],
  };
}

/** In one line: from where to where, what happens, where and why, and what to do. */
function lineOf({ flow, from, to }: TraceInput, verdict: Verdict): string {
  const protocol = flow.protocol === 'icmp' ? 'ICMP' : `${flow.protocol.toUpperCase()} ${flow.port}`;
  const { advice } = verdict;
  const what = whatHappens(verdict);
  return `${from.name} -> ${to.name} (${protocol}): ${what}${advice === null ? '' : `; ${advice}`}`;
}

function whatHappens({ arrives, cause, node, text }: Verdict): string {
  if (cause === 'nothing-seen') return text;
  if (arrives) return text === '' ? 'arrives' : `arrives, ${text}`;
  return `dies${node === null ? '' : ` on ${node}`}: ${text}`;
}

function verdictOf(input: TraceInput): Verdict {
  const { from, source, destination } = input;
  if (isMissing(source)) {
    return {
      ...{ arrives: false, cause: from.node === null ? 'source-unknown' : 'node-silent', node: source.node },
      ...{ text: `nothing could be sent from ${from.name}: ${source.missing}`, isCertain: true },
      advice: 'run the trace on that node, or see `warren peers`',
    };
  }
  const progress = progressOf(input);
  if (progress === 'delivered' || progress === 'to-pod') return reachedPod(input, source);
  if (progress === 'nowhere') return inSourcePod(input, source);
  if (progress === 'host-end') return onSourceNode(input, source);
  if (progress === 'into-tun') return inPacketPath(input, source);
  if (progress === 'underlay-out') return leftSource(input, source);
  // Whoever was seen there is there.
  const there = destination as NodeObservation;
  return progress === 'underlay-in' ? onDestinationUnderlay(input, source, there) : afterTunnel(input, there);
}
