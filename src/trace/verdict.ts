/** How verdicts are made, and what of an observation several of them ask. */
import type { Cause, IcmpError, NodeObservation, RouteLookup, TraceInput, Verdict } from './model.ts';
import { isMissing } from './model.ts';

/** It dies there. `isCertain` false: nothing was observed that says so, and the text begins with "probably". */
export function dies(
  cause: Cause,
  node: string | null,
  text: string,
  advice: string | null,
  isCertain = true,
): Verdict {
  return {
    ...{ arrives: false, cause, node, advice, isCertain },
    text: isCertain ? text : `probably ${text}`,
  };
}

/** What was said back about the packet, if anything was. */
export function errorOf({ source, destination }: TraceInput): IcmpError | undefined {
  for (const node of [source, destination]) {
    if (node === null || isMissing(node)) continue;
    const found = node.sightings.find(({ what, error }) => what === 'error' && error !== undefined);
    if (found?.error !== undefined) return found.error;
  }
  return undefined;
}

/** Of the packet path: the flow's own first. `isOurs` alone where a datagram of the same peer says nothing. */
export function dropOf(
  node: NodeObservation,
  side: 'outbound' | 'inbound',
): NodeObservation['drops'][number] | undefined {
  const some = node.drops.filter(({ reason }) => reason.startsWith(`${side}-`));
  return some.find(({ isOurs }) => isOurs) ?? some[0];
}

export function hasGrown(node: NodeObservation, counter: string): boolean {
  return (node.grown[counter] ?? 0) > 0;
}

/** A route that there is not, in words that go behind "on NODE". */
export function routeProblem(route: Extract<RouteLookup, { isFound: false }>, to: string): string {
  switch (route.problem) {
    case 'no-route':
      return `the kernel has no route to ${to}`;
    case 'unreachable':
      return `a route or rule makes ${to} unreachable`;
    case 'blackhole':
      return `a route or rule throws away what goes to ${to}`;
    case 'prohibited':
      return `a route or rule prohibits ${to}`;
    default:
      return `the kernel does not route to ${to} (${route.text})`;
  }
}

/** Of the address alone, without a prefix's length. */
export function bare(address: string): string {
  return address.split('/')[0]!;
}
