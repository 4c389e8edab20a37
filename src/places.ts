/**
 * Places in the code as people know them. What runs is bundled and minified (scripts/build.mjs); a stack names lines of
 * that, and the map beside each file tells which line of src/ each one was. A map is read when a stack is shown.
 */
import { existsSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { fileURLToPath } from 'node:url';

/** `stack` with each place that has a map as `src/agent.ts:120:5`; the others stay as they are. */
export function withSourcePlaces(stack: string): string {
  const maps = new Map<string, SourceMap | undefined>();
  return stack.replaceAll(/file:\/\/[^\s():]+:(\d+):(\d+)/g, (place, line: string, column: string) => {
    const url = place.slice(0, -`:${line}:${column}`.length);
    if (!maps.has(url)) maps.set(url, mapBeside(url));
    return sourcePlace(maps.get(url), Number(line), Number(column)) ?? place;
  });
}

/** `line` and `column` count from 1, as stacks do. */
function sourcePlace(map: SourceMap | undefined, line: number, column: number): string | undefined {
  const entry = map?.findEntry(line - 1, column - 1);
  if (entry === undefined || !('originalSource' in entry)) return undefined;
  // Relative to the map's file: ../../src/agent.ts, ../../node_modules/pino/pino.js.
  const source = entry.originalSource.replace(/^(?:\.\.\/)+/, '');
  return `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
}

/** Undefined if there is none: then nothing was bundled, and the stack is as it should be. */
function mapBeside(url: string): SourceMap | undefined {
  try {
    const file = fileURLToPath(url);
    const path = `${file}.map`;
    return existsSync(path) ? new SourceMap(JSON.parse(readFileSync(path, 'utf8'))) : undefined;
  } catch {
    return undefined;
  }
}
