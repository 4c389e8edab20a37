/** `--label app=web`, which may be repeated. */
import { InvalidArgumentError } from 'commander';

export function addLabel(
  text: string,
  before: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be a key and a value, such as app=web.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
