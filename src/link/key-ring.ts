/**
 * The cluster's secret: a file with one or more keys, one a line, 32 bytes in base64 each (`warren key
 * generate`). The first seals, all of them open, so that keys can be changed without downtime.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { errorMessage, WarrenError } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import { KEY_BYTES, MAX_KEYS } from './key-ring-state.ts';

const MAX_KEY_FILE_BYTES = 16_384;

export interface KeyRing {
  /** At least one, at most 8; the first is the primary. */
  readonly keys: readonly Uint8Array[];
}

/** A new key, as it stands in a key file. */
export function generateClusterKey(): string {
  return randomBytes(KEY_BYTES).toString('base64');
}

/**
 * Reads a key file. Empty lines and lines that start with `#` are skipped. A file that is missing, empty or
 * wrong is an error (KEY_FILE, KEY_INVALID): a node that was given a key never falls back to clear text.
 */
export function loadKeyRing(path: string, logger: Logger): KeyRing {
  checkPermissions(path, logger);
  return parseKeyRing(readKeyText(path), path);
}

/** The text of a key file, all of which is as it must be. Throws as `loadKeyRing` does. */
export function readKeyFile(path: string): string {
  const text = readKeyText(path);
  parseKeyRing(text, path);
  return text;
}

function readKeyText(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
  if (text.trim() === '') {
    throw new WarrenError('KEY_FILE', `the cluster key file ${path} is empty`, {
      hint: `Copy the key file of another node there. For a new cluster: rm ${path} && warren key generate -o ${path}`,
    });
  }
  return text;
}

/** `source` names the text in errors; a key itself is never shown. */
export function parseKeyRing(text: string, source: string): KeyRing {
  const keys: Uint8Array[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const content = line.trim();
    if (content === '' || content.startsWith('#')) continue;
    const key = Buffer.from(content, 'base64');
    if (key.length !== KEY_BYTES || key.toString('base64') !== content) {
      throw new WarrenError(
        'KEY_INVALID',
        `${source} line ${index + 1}: a cluster key is ${KEY_BYTES} bytes in base64`,
        { hint: 'Make one with: warren key generate' },
      );
    }
    keys.push(new Uint8Array(key));
  }
  if (keys.length === 0) {
    throw new WarrenError('KEY_INVALID', `${source} has no key in it`, {
      hint: 'Make one with: warren key generate',
    });
  }
  if (keys.length > MAX_KEYS) {
    throw new WarrenError(
      'KEY_INVALID',
      `${source} holds ${keys.length} keys; at most ${MAX_KEYS} are possible`,
    );
  }
  return { keys };
}

function checkPermissions(path: string, logger: Logger): void {
  let mode: number;
  try {
    const file = statSync(path);
    if (!file.isFile() || file.size > MAX_KEY_FILE_BYTES) {
      throw new WarrenError('KEY_FILE', `${path} is not a cluster key file`);
    }
    mode = file.mode;
  } catch (error) {
    throw error instanceof WarrenError ? error : unreadable(path, error);
  }
  if ((mode & 0o022) !== 0) {
    throw new WarrenError('KEY_FILE', `cluster key ${path} can be changed by others than its owner`, {
      hint: `Run: chmod 600 ${path}`,
    });
  }
  if ((mode & 0o004) !== 0) {
    logger.warn({ path }, 'every user of this host can read the cluster key; chmod 600 keeps it private');
  }
}

function unreadable(path: string, cause: unknown): WarrenError {
  return new WarrenError('KEY_FILE', `cannot read the cluster key ${path}: ${errorMessage(cause)}`, {
    hint: 'Copy the key file of another node there, or make one with: warren key generate',
    cause,
  });
}
