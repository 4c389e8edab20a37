/** The steps of a packet's way as people read them: what it has passed, where it died, and what is not known. */
import {
  isMissing,
  type KernelPath,
  type NodeObservation,
  POINTS,
  type Step,
  type TraceInput,
  type Verdict,
} from './model.ts';
import { type Progress, progressOf } from './progress.ts';

interface Place {
  readonly what: string;
  readonly text: string;
  /** How far a packet is that has passed here: an index of POINTS; -1: it has left its sender. */
  readonly rank: number;
}

const RANK = { hostEnd: 0, intoTun: 1, underlayOut: 2, underlayIn: 3, outOfTun: 4, toPod: 5 } as const;

export function stepsOf(input: TraceInput, verdict: Verdict): Step[] {
  const { source, destination } = input;
  if (isMissing(source)) return [{ node: source.node, what: 'node', outcome: 'died', text: source.missing }];
  const progress = progressOf(input);
  const rank = verdict.arrives ? POINTS.length : rankOf(progress);
  const there = destination === null || isMissing(destination) ? undefined : destination;
  const isOneNode = source.role === 'both';
  const steps: Step[] = [];
  const add = (node: string, { what, text, rank: own }: Place) => {
    const before = steps.at(-1)?.outcome ?? 'passed';
    const outcome = own <= rank ? 'passed' : before === 'passed' ? 'died' : 'unknown';
    steps.push({
      node,
      what,
      outcome,
      text: outcome === 'died' ? verdict.text : outcome === 'passed' ? text : '',
    });
  };
  for (const place of sourcePlaces(input, source, isOneNode)) add(source.node, place);
  if (!isOneNode) {
    if (there !== undefined) for (const place of destinationPlaces(input, there)) add(there.node, place);
    else if (destination !== null && isMissing(destination))
      add(destination.node, { what: 'node', text: destination.missing, rank: RANK.underlayIn });
  }
  return steps;
}

/** What has come to the pod and dies all the same has not come in. */
function rankOf(progress: Progress): number {
  if (progress === 'nowhere') return -2;
  return progress === 'delivered' ? RANK.toPod - 1 : Math.min(POINTS.indexOf(progress), RANK.toPod - 1);
}

function sourcePlaces(input: TraceInput, node: NodeObservation, isOneNode: boolean): Place[] {
  const { flow } = input;
  const { facts, sent } = node;
  const size = flow.bytes === 0 ? '' : ` of ${flow.bytes} bytes`;
  const places: Place[] = [
    {
      what: facts.pod === null ? 'node' : `pod ${facts.pod.name}`,
      text: sent === null ? 'sends' : `sends ${flow.protocol.toUpperCase()}${size} from ${sent.source}`,
      rank: facts.pod === null ? -1 : RANK.hostEnd,
    },
  ];
  if (isOneNode) return [...places, routing(node, RANK.toPod), delivery(input, node)];
  places.push(routing(node, RANK.intoTun), {
    what: 'packet path',
    text:
      facts.owner === null || facts.owner === 'self'
        ? 'encloses it'
        : `encloses it for ${facts.owner.name}${pathText(facts.owner.pathMtu)}`,
    rank: RANK.underlayOut,
  });
  const { underlay } = facts;
  const by = underlay?.link === null || underlay === null ? 'the underlay' : underlay.link.name;
  places.push({ what: 'underlay', text: `sends it by ${by}`, rank: RANK.underlayOut });
  return places;
}

function destinationPlaces(input: TraceInput, node: NodeObservation): Place[] {
  const { facts } = node;
  return [
    {
      what: 'underlay',
      text: `it comes in by ${facts.underlay?.link?.name ?? 'the underlay'}`,
      rank: RANK.underlayIn,
    },
    { what: 'packet path', text: 'opens it, and its source belongs to the sender', rank: RANK.outOfTun },
    routing(node, RANK.toPod),
    delivery(input, node),
  ];
}

function routing(node: NodeObservation, rank: number): Place {
  const { inner } = node;
  const to = inner?.outInterface === undefined ? '' : ` to ${inner.outInterface}`;
  const by = inner === null || inner.passed.length === 0 ? '' : ` (${hooksText(inner)})`;
  return { what: 'routing and rules', text: `passes it${to}${by}`, rank };
}

function delivery({ to }: TraceInput, node: NodeObservation): Place {
  const { pod } = node.facts;
  return {
    what: pod === null ? 'node' : `pod ${pod.name}`,
    text: pod === null ? `${to.name} has it` : `it comes to ${pod.inner?.name ?? 'its interface'}`,
    rank: RANK.toPod,
  };
}

function hooksText({ passed }: KernelPath): string {
  return passed.join(', ');
}

function pathText(mtu: number | null): string {
  return mtu === null ? '' : `, whose path carries ${mtu}`;
}
