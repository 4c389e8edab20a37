/**
 * A log line as text, for people. An error comes with its code, what to do about it, and what caused it, each on an
 * indented line of its own; one that is a bug also with the places in the code:
 *
 *     2026-01-31T10:00:00.000Z INFO  node is alive node=node-b
 *     2026-01-31T10:00:00.000Z FATAL the agent cannot go on error="the TUN device is gone" code=TUN_LOST
 *         hint: Start the agent again.
 *         caused by: read failed code=EBADFD
 *
 * Whatever others chose (names, messages) cannot begin a line of its own: control characters are written as escapes.
 */
import pino from 'pino';
import { withSourcePlaces } from '../places.ts';

/** How an error is put into a line that `textLine` reads. */
export interface LoggedError {
  readonly message: string;
  readonly code?: string;
  readonly hint?: string;
  /** The places in the code, of a bug alone. */
  readonly stack?: string;
  readonly cause?: LoggedError;
}

/** Of causes; what is deeper, or a circle, is left out. */
const MAX_CAUSES = 5;

/** pino's serializer of `err`. */
export function loggedError(error: unknown, depth = 0): LoggedError {
  if (!(error instanceof Error)) return { message: String(error) };
  const { code, hint, syscall } = error as { code?: unknown; hint?: unknown; syscall?: unknown };
  // What was foreseen, and what the system refused, is told by its message.
  const isBug = error.name !== 'WarrenError' && syscall === undefined;
  const places = isBug ? error.stack?.split('\n').filter((line) => /^\s+at /.test(line)) : undefined;
  return {
    message: error.message === '' ? error.name : error.message,
    ...(typeof code === 'string' && { code }),
    ...(typeof hint === 'string' && { hint }),
    ...(places &&
      places.length > 0 && { stack: withSourcePlaces(places.map((line) => line.trim()).join('\n')) }),
    ...(error.cause !== undefined && depth < MAX_CAUSES && { cause: loggedError(error.cause, depth + 1) }),
  };
}

/** `json`: a line of pino's, with errors as `loggedError` gives them. */
export function textLine(json: string): string {
  const { level, time, msg, err, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const label = (pino.levels.labels[level as number] ?? String(level)).toUpperCase().padEnd(5);
  const error = err as LoggedError | undefined;
  // Some say the hint beside the error as well.
  if (error?.hint !== undefined && fields.hint === error.hint) delete fields.hint;
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${fieldText(value)}`);
  const head = `${time} ${label} ${escaped(String(msg ?? ''))}${pairs.join('')}`;
  if (error === undefined) return `${head}\n`;
  const [first, ...more] = errorLines(error);
  return `${[`${head} error=${first}`, ...more.map((line) => `    ${line}`)].join('\n')}\n`;
}

function errorLines({ message, code, hint, stack, cause }: LoggedError): string[] {
  const suffix = code === undefined ? '' : ` code=${fieldText(code)}`;
  const [first, ...others] = message.split('\n');
  return [
    `${fieldText(first)}${suffix}`,
    ...others.map(escaped),
    ...(hint === undefined ? [] : [`hint: ${escaped(hint)}`]),
    ...(stack === undefined ? [] : stack.split('\n').map(escaped)),
    ...(cause === undefined
      ? []
      : errorLines(cause).map((line, i) => (i === 0 ? `caused by: ${line}` : line))),
  ];
}

function fieldText(value: unknown): string {
  if (typeof value !== 'string') return escaped(JSON.stringify(value));
  return /[\s"=\p{Cc}]/u.test(value) || value === '' ? escaped(JSON.stringify(value)) : value;
}

function escaped(text: string): string {
  return text.replaceAll(
    /\p{Cc}/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
