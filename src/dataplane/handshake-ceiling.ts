/**
 * Where the highest timestamp that a handshake may have had is kept (encapsulation/wireguard/tai64n.ts). It is written by
 * the thread that makes handshakes, which loads as little as it can; so it is a file of one line, and not like others.
 */
import { readFileSync } from 'node:fs';
import { errorMessage, WarrenError } from '../errors.ts';
import { replaceFile } from '../state/replace-file.ts';

const MODES = { file: 0o600, folder: 0o700 } as const;
const LINE = /^microseconds (\d{1,16})\n$/;

/** Microseconds since 1970; 0: none was ever sent. Throws STATE_UNREADABLE, STATE_CORRUPT. */
export function readCeiling(path: string): number {
  let text: string;
  try {
    text = readFileSync(path, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw new WarrenError('STATE_UNREADABLE', `cannot read ${path}: ${errorMessage(error)}`, {
      hint: 'Run as root, and look after the disk.',
      cause: error,
    });
  }
  const found = LINE.exec(text);
  if (found) return Number(found[1]);
  throw new WarrenError('STATE_CORRUPT', `${path} is damaged: it is to hold one line, "microseconds N"`, {
    hint: "Remove it if this host's clock was never set back; peers refuse handshakes that look older than those before.",
  });
}

/** Durable when it returns. Throws what the disk says. */
export function writeCeiling(path: string, ceilingUs: number): void {
  replaceFile(path, `microseconds ${Math.ceil(ceilingUs)}\n`, MODES);
}
