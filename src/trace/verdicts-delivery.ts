/** What became of a packet that came to the pod, or the node, that it was for. */
import { answersIn } from './answers.ts';
import { isMissing, type NodeObservation, type TraceInput, type Verdict } from './model.ts';
import { podProblem } from './verdicts-pod.ts';

export function reachedPod(input: TraceInput, source: NodeObservation): Verdict {
  const { flow, from, to, destination } = input;
  const last = destination === null || isMissing(destination) ? source : destination;
  const node = last.node;
  const answers = [...new Set([source, last])].flatMap(({ sightings }) => answersIn(sightings, flow));
  const port = `${flow.protocol.toUpperCase()} port ${flow.port}`;
  const arrives = { arrives: true, node, isCertain: true } as const;
  if (answers.length === 0) {
    const problem = last.facts.pod === null ? undefined : podProblem(last.facts.pod, flow.destination, node);
    if (problem !== undefined) return problem;
    if (flow.protocol === 'udp' || input.isLive)
      return { ...arrives, cause: 'arrives', text: '', advice: null };
    const advice =
      last.facts.pod === null
        ? 'a firewall of the host in its output, or what runs there, is in the way'
        : `look within the pod: \`warren exec ${last.facts.pod.name} -- nft list ruleset\``;
    return { ...arrives, cause: 'no-answer', text: `and ${to.name} does not answer it`, advice };
  }
  const isClosed = answers.every(({ answer, error }) => answer === 'reset' || error?.kind === 'no-port');
  if (isClosed)
    return {
      ...{ ...arrives, cause: 'port-closed', text: `and nothing listens on ${port} there` },
      advice: `start what is to listen on ${port}, on all addresses`,
    };
  const isBack = source === last || answersIn(source.sightings, flow).length > 0;
  if (!isBack)
    return {
      ...{ ...arrives, cause: 'answer-lost', text: `but its answer does not come back to ${from.name}` },
      advice: `trace the other way: \`warren trace ${to.name} ${from.name}\``,
    };
  return { ...arrives, cause: 'arrives', text: 'and is answered', advice: null };
}
