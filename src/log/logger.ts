/**
 * The agent's log: pino's levels (a disabled level costs one empty call), written to standard error as
 * aligned text lines, or as JSON lines for a log collector.
 */
import { Writable } from 'node:stream';
import pino from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFormat = 'text' | 'json';
export type Logger = pino.Logger;

export function createLogger(options: { level: LogLevel; format: LogFormat }): Logger {
  const destination = options.format === 'json' ? pino.destination({ fd: 2, sync: true }) : textLines();
  return pino({ level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

/** A logger that says nothing, for tests and for tools that have no log. */
export const silentLogger: Logger = pino({ level: 'silent' });

/** `2026-01-31T10:00:00.000Z INFO  node is alive node=node-b` */
function textLines(): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      process.stderr.write(textLine(chunk.toString()), () => done());
    },
  });
}

export function textLine(json: string): string {
  const { level, time, msg, err, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const label = (pino.levels.labels[level as number] ?? String(level)).toUpperCase().padEnd(5);
  const cause = err as { message?: string; stack?: string } | undefined;
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${fieldText(value)}`);
  return `${time} ${label} ${msg ?? ''}${pairs.join('')}${cause ? ` error=${fieldText(cause.message)}` : ''}\n`;
}

function fieldText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /[\s"=]/.test(text) && typeof value === 'string' ? JSON.stringify(text) : text;
}
