/**
 * The agent's log: pino's levels (a disabled level costs one empty call), written as text lines for people, or as JSON
 * lines for a log collector. Where they go never makes the agent wait (log-output.ts).
 */
import pino from 'pino';
import { withSourcePlaces } from '../places.ts';
import { LogOutput, type Sink } from './log-output.ts';
import { LogRing } from './log-ring.ts';
import { loggedError, textLine } from './text.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFormat = 'text' | 'json';
export type Logger = pino.Logger;

export interface Log {
  readonly logger: Logger;
  /** Lines that the reader did not take in time. */
  readonly dropped: number;
  /** The latest lines, whether they were taken or not. */
  recent(): string;
  /** Before the process ends: as far as the reader takes it within `limitMs`. */
  flush(limitMs: number): void;
}

export function createLog(
  options: { readonly level: LogLevel; readonly format: LogFormat },
  sink: Sink,
): Log {
  const isText = options.format === 'text';
  const shown = (json: string) => (isText ? textLine(json) : json);
  const output = new LogOutput({ sink, notice: (dropped) => shown(droppedLine(dropped)) });
  const ring = new LogRing();
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: isText ? (error: unknown) => loggedError(error) : jsonError },
    },
    {
      write: (json: string) => {
        const line = shown(json);
        ring.add(line);
        output.write(line);
      },
    },
  );
  return {
    logger,
    get dropped() {
      return output.dropped;
    },
    recent: () => ring.text(),
    flush: (limitMs) => output.flush(limitMs),
  };
}

/** As pino writes errors everywhere. */
function jsonError(error: Error): unknown {
  const written = pino.stdSerializers.err(error);
  return written?.stack === undefined ? written : { ...written, stack: withSourcePlaces(written.stack) };
}

/** A logger that says nothing, for tests and for tools that have no log. */
export const silentLogger: Logger = pino({ level: 'silent' });

function droppedLine(dropped: number): string {
  const time = new Date().toISOString();
  const msg = 'lines of this log were dropped: its reader did not take them';
  return `${JSON.stringify({ level: pino.levels.values.warn, time, lines: dropped, msg })}\n`;
}
