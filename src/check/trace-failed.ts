/** Of pairs that fail a check: where and why their packets die. */
import pLimit from 'p-limit';
import type { AgentClient } from '../api/client.ts';
import { errorMessage } from '../errors.ts';
import type { CheckResult } from '../readmodel/check-reports.ts';

/** At once: each has two nodes look for some seconds. */
const CONCURRENCY = 2;
/** Where a node is gone, all that is on it fails for one reason. */
export const MAX_TRACES = 12;

/** `results` with traces of those that failed, up to MAX_TRACES, the same target last; `onProgress` hears after each. */
export async function withTraces(
  client: Pick<AgentClient, 'trace'>,
  node: string,
  results: readonly CheckResult[],
  onProgress: (done: number, total: number) => void,
): Promise<CheckResult[]> {
  const chosen = choose(results.filter(({ ok }) => !ok));
  let done = 0;
  const traces = new Map<CheckResult, CheckResult['trace']>();
  await pLimit(CONCURRENCY).map(chosen, async (result) => {
    const source = result.from === 'node' ? `node:${node}` : `${result.from}.${node}`;
    try {
      const { line, verdict } = await client.trace({ source, destination: result.address });
      traces.set(result, { line, cause: verdict.cause });
    } catch (error) {
      traces.set(result, { line: `could not be traced: ${errorMessage(error)}`, cause: 'not-tried' });
    }
    onProgress(++done, chosen.length);
  });
  return results.map((result) => {
    const trace = traces.get(result);
    return trace === undefined ? result : { ...result, trace };
  });
}

/** First one to each target, so that few say as much as can be. */
function choose(failed: readonly CheckResult[]): readonly CheckResult[] {
  const seen = new Set<string>();
  const isFirst = ({ address }: CheckResult) => !seen.has(address) && seen.add(address);
  const first = failed.filter(isFirst);
  return [...first, ...failed.filter((one) => !first.includes(one))].slice(0, MAX_TRACES);
}
