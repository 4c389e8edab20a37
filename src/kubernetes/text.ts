/** Words of an API server for people: they came over the network, and end up in terminals and logs. */
import { UNPRINTABLE } from '../names.ts';

const MAX_TEXT = 200;

/** One line of bounded length, without what would move a cursor. */
export function printable(text: string): string {
  const cut = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
  return cut.replaceAll(new RegExp(UNPRINTABLE, 'gu'), ' ').trim();
}

/** Why an answer is not what was asked for. */
export function refusalText(
  answer: { readonly status: number; readonly body: unknown } | { readonly error: string },
): string {
  if ('error' in answer) return printable(answer.error);
  const message = messageOf(answer.body);
  return `HTTP ${answer.status}${message === '' ? '' : `: ${message}`}`;
}

function messageOf(body: unknown): string {
  if (typeof body !== 'object' || body === null || !('message' in body)) return '';
  return typeof body.message === 'string' ? printable(body.message) : '';
}
