/**
 * `warren check`: from this node and from each of its pods to every node and pod that is known. It runs here
 * and not in the agent, which would spend the time of its control work on it; the agent says what to reach, and traces
 * what does not answer.
 */
import pLimit from 'p-limit';
import type { AgentClient } from '../api/client.ts';
import type { CheckReport, CheckResult } from '../readmodel/check-reports.ts';
import { checkProblems, checkSources, checkTargets } from './pairs.ts';
import { ping } from './ping.ts';

/** Pings that wait at the same time; each is a process or two. */
const CONCURRENCY = 16;

/** Asks the agent what there is and tries all of it. `onProgress` hears after each pair. */
export async function runCheck(
  client: AgentClient,
  onProgress: (done: number, total: number) => void,
): Promise<CheckReport> {
  const [status, pods, all] = await Promise.all([client.status(), client.pods(), client.allTargets()]);
  const sources = checkSources(status, pods);
  const pairs = sources.flatMap((source) => checkTargets(all).map((target) => ({ source, target })));
  let done = 0;
  const results = await pLimit(CONCURRENCY).map(pairs, async ({ source, target }): Promise<CheckResult> => {
    const rttMs = await ping(target.address, source.netns);
    onProgress(++done, pairs.length);
    return { from: source.name, ...target, ok: rttMs !== null, rttMs };
  });
  const isWhole = results.every(({ ok }) => ok);
  const traced = isWhole
    ? results
    : await (await import('./trace-failed.ts')).withTraces(client, status.node.name, results, onProgress);
  const problems = checkProblems(status, pods);
  return {
    node: status.node.name,
    ok: problems.length === 0 && all.unreachable.length === 0 && isWhole,
    problems,
    unreachable: all.unreachable,
    results: traced,
  };
}
