/**
 * State that must survive a crash at any byte: a node's identity, its lease, its attachments.
 *
 *     {"format":"warren-state","version":2,"kind":"lease","node":"<id>","sha256":"<hex>"}\n    first line
 *     { ... }\n                                                                              content: JSON, indented
 *
 * kind is the file's name without `.json`; node is there where the content is one node's own. The checksum is over
 * kind, node and content. A file of another kind or node is as wrong as a damaged one: a lease that came along with
 * a copied folder is somebody else's.
 *
 * A write goes to a temporary file in the same folder, is flushed, and renamed over the old one; then the
 * folder is flushed. So a reader sees the old state or the new one, and a file that is neither (cut short,
 * edited, from something or somebody else) is an error: a node must never take a new identity because of a bad disk.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorMessage, WarrenError } from '../errors.ts';
import { z } from '../zod.ts';
import { replaceFile, syncFolder } from './replace-file.ts';

const FORMAT = 'warren-state';
const VERSION = 2;
/** The members of the largest cluster take half of it; a larger file is not ours, and is not read into memory. */
const MAX_FILE_BYTES = 32 * 1024 * 1024;

const versionSchema = z.object({ format: z.literal(FORMAT), version: z.number().int().positive() });

const headerSchema = z.object({
  format: z.literal(FORMAT),
  version: z.number().int().positive(),
  kind: z.string(),
  node: z.string().optional(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/** Makes the state folder, 0700, if it is not there. Throws STATE_UNWRITABLE. */
export function makeStateFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new WarrenError(
      'STATE_UNWRITABLE',
      `cannot make the state folder ${path}: ${errorMessage(error)}`,
      {
        hint: 'Run as root, or set node.stateDir to a folder that this user can write.',
        cause: error,
      },
    );
  }
}

/** Removes what a crash in the middle of a write left; for the folder's owner, before it writes anything itself. */
export function removeUnfinished(folder: string): void {
  for (const name of readdirSync(folder))
    if (name.endsWith('.json.tmp')) rmSync(join(folder, name), { force: true });
}

/**
 * Reads `path` and checks its content with `schema`; undefined if the file does not exist.
 * `what` names the content in messages, such as `this node's identity`; `node` is the id of the node that must have
 * written it. Throws STATE_UNREADABLE (permissions, I/O), STATE_VERSION (written by another warren), STATE_CORRUPT,
 * or STATE_FOREIGN (another node's, or another file).
 */
export function readStateFile<T>(
  path: string,
  schema: z.ZodType<T>,
  what: string,
  node?: string,
): T | undefined {
  const text = readText(path, what);
  if (text === undefined) return undefined;
  const lineEnd = text.indexOf(0x0a);
  const firstLine = parseJson(text.subarray(0, Math.max(lineEnd, 0)));
  const version = versionSchema.safeParse(firstLine);
  if (version.success && version.data.version !== VERSION) {
    throw new WarrenError(
      'STATE_VERSION',
      `${path} (${what}) has format version ${version.data.version}, and this warren reads version ${VERSION}`,
      { hint: `Run the warren version that wrote it, or move it away to start without ${what}.` },
    );
  }
  const header = headerSchema.safeParse(firstLine);
  if (!header.success) throw corrupt(path, what, 'it does not start with a warren state header');
  const content = text.subarray(lineEnd + 1);
  if (checksum(header.data, content) !== header.data.sha256) {
    throw corrupt(path, what, 'its content does not match its checksum: it was cut short or changed');
  }
  if (header.data.kind !== kindOf(path)) {
    throw foreign(path, what, `it is a file ${header.data.kind}.json that was renamed`);
  }
  if (header.data.node !== node) throw foreign(path, what, `node ${header.data.node ?? '?'} wrote it`);
  const value = schema.safeParse(parseJson(content));
  if (!value.success) {
    const issue = value.error.issues[0];
    throw corrupt(path, what, `${issue?.path.join('.') || 'content'}: ${issue?.message ?? 'not valid'}`);
  }
  return value.data;
}

/**
 * Replaces `path` with `value` (anything JSON can hold), atomically and durably: when this returns, the
 * state is on the disk. The file is 0600; a missing folder is made, 0700. `node`: as for reading. Throws
 * STATE_UNWRITABLE.
 */
export function writeStateFile(path: string, value: unknown, node?: string): void {
  try {
    replaceFile(path, encode(path, value, node), { file: 0o600, folder: 0o700 });
  } catch (error) {
    throw unwritable(path, error);
  }
}

/**
 * The same as `writeStateFile`, without making the event loop wait for the disk. `value` is read before this returns,
 * so the caller may change it at once. One write of a path at a time: its owner sees to that (`SharedWrite`).
 */
export async function writeStateFileAsync(path: string, value: unknown, node?: string): Promise<void> {
  const temporary = `${path}.tmp`;
  try {
    const bytes = encode(path, value, node);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await rm(temporary, { force: true });
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    const folder = await open(dirname(path), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** Removes a state file, durably. Nothing happens if there is none. Throws STATE_UNWRITABLE. */
export function removeStateFile(path: string): void {
  try {
    rmSync(path, { force: true });
    syncFolder(dirname(path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw new WarrenError('STATE_UNWRITABLE', `cannot remove ${path}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/** The whole file. Throws if it would be longer than what `readStateFile` takes. */
function encode(path: string, value: unknown, node: string | undefined): Buffer {
  const content = Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
  const origin = { kind: kindOf(path), ...(node !== undefined && { node }) };
  const header = { format: FORMAT, version: VERSION, ...origin, sha256: checksum(origin, content) };
  const bytes = Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), content]);
  if (bytes.length > MAX_FILE_BYTES) throw new Error(`it would have ${bytes.length} bytes`);
  return bytes;
}

function readText(path: string, what: string): Buffer | undefined {
  try {
    const { size } = statSync(path);
    if (size > MAX_FILE_BYTES) throw corrupt(path, what, `it has ${size} bytes`);
    return readFileSync(path);
  } catch (error) {
    if (error instanceof WarrenError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new WarrenError('STATE_UNREADABLE', `cannot read ${path} (${what}): ${errorMessage(error)}`, {
      hint: 'Check the permissions of the state folder (node.stateDir); the agent runs as root.',
      cause: error,
    });
  }
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return undefined;
  }
}

interface Origin {
  readonly kind: string;
  readonly node?: string | undefined;
}

function checksum({ kind, node }: Origin, content: Uint8Array): string {
  return createHash('sha256')
    .update(`${JSON.stringify([kind, node ?? null])}\n`)
    .update(content)
    .digest('hex');
}

function kindOf(path: string): string {
  return basename(path, '.json');
}

function unwritable(path: string, error: unknown): WarrenError {
  return new WarrenError('STATE_UNWRITABLE', `cannot write ${path}: ${errorMessage(error)}`, {
    hint: 'Check the permissions and the free space of the state folder (node.stateDir).',
    cause: error,
  });
}

function foreign(path: string, what: string, reason: string): WarrenError {
  return new WarrenError('STATE_FOREIGN', `${path} is not ${what}: ${reason}`, {
    hint: `Was the state folder copied from another node? Put the right file back, or move this one away to start without ${what}.`,
  });
}

function corrupt(path: string, what: string, reason: string): WarrenError {
  return new WarrenError('STATE_CORRUPT', `${path} (${what}) is damaged: ${reason}`, {
    hint: `Put back a good copy of it, or move it away to start without ${what}.`,
  });
}
