/** Tells an engine, in its configuration file, to ask this node for names: what was put in, and that it goes again. */
import { chmodSync, chownSync, existsSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { errorMessage, WarrenError } from '../errors.ts';
import { replaceFile } from '../state/replace-file.ts';
import { z } from '../zod.ts';
import { isEmptyConfig, withoutResolvers, withResolvers } from './daemon-json.ts';

/** What is remembered of it. */
export const engineConfigSchema = z.object({
  /** The file. */
  path: z.string(),
  /** Of this node, that answers names. */
  address: z.string(),
  /** What was put into `dns`. */
  added: z.array(z.string()),
  /** The file was not there before. */
  isNew: z.boolean(),
});

export type EngineConfig = z.output<typeof engineConfigSchema>;

/** Who answers names on this node, and who else could be asked. */
export interface NodeResolvers {
  readonly address: string;
  /** The host's, as text, an IPv6 one perhaps with an interface. */
  readonly others: readonly string[];
}

/** What is to be in files afterwards; undefined: no file. Nothing is written before all is known to be possible. */
export interface EngineConfigChange {
  readonly files: ReadonlyMap<string, string | undefined>;
  /** To be remembered. */
  readonly config: EngineConfig | undefined;
}

/**
 * From what was put into `before` to what is to be in `path`; undefined: nothing is. Throws DOCKER_CONFIG_INVALID,
 * DOCKER_CONFIG_UNUSABLE, DOCKER_NO_RESOLVER.
 */
export function planEngineConfig(
  before: EngineConfig | undefined,
  wanted: { readonly path: string; readonly resolvers: NodeResolvers } | undefined,
): EngineConfigChange {
  const files = new Map<string, string | undefined>();
  const old = before && read(before.path);
  if (before && old !== undefined) {
    const text = named(before.path, () => withoutResolvers(old, before.added));
    files.set(before.path, before.isNew && isEmptyConfig(text) ? undefined : text);
  }
  if (!wanted) return { files: changed(files), config: undefined };
  const { path, resolvers } = wanted;
  const { address } = resolvers;
  const is = files.has(path) ? files.get(path) : read(path);
  const others = reachable(resolvers.others);
  const { text, added } = named(path, () => withResolvers(is, address, others));
  if (added.length > 0) files.set(path, text);
  return { files: changed(files), config: { path, address, added: [...added], isNew: is === undefined } };
}

/** What is wrong in a text is wrong in a file. */
function named<T>(path: string, edit: () => T): T {
  try {
    return edit();
  } catch (error) {
    if (!(error instanceof WarrenError)) throw error;
    throw new WarrenError(error.code, `${path} is not as it must be: ${error.message}`, { hint: error.hint });
  }
}

/** Throws DOCKER_CONFIG_UNUSABLE. */
export function writeEngineConfig({ files }: EngineConfigChange): void {
  for (const [path, text] of files) {
    try {
      if (text === undefined) rmSync(path, { force: true });
      else replace(path, text);
    } catch (error) {
      throw unusable(path, error);
    }
  }
}

/** A container has a loopback of its own, and other interfaces. */
function reachable(others: readonly string[]): string[] {
  const found = others.filter((one) => isIP(one) !== 0 && !one.includes('%') && !isLoopback(one));
  if (found.length > 0 || others.length === 0) return found;
  throw new WarrenError(
    'DOCKER_NO_RESOLVER',
    `the host's resolvers (${others.join(', ')}) are out of reach for containers, and those on other networks would have none`,
    { hint: 'Set dns.resolvers to one that they reach, or leave names out with --no-names.' },
  );
}

function isLoopback(address: string): boolean {
  return /^(127\.|0\.|::ffff:127\.)/i.test(address) || ['::1', '::'].includes(address);
}

function changed(files: ReadonlyMap<string, string | undefined>): Map<string, string | undefined> {
  return new Map([...files].filter(([path, text]) => read(path) !== text));
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unusable(path, error);
  }
}

/** A link stays one, and the file keeps its owner and mode. */
function replace(path: string, text: string): void {
  const file = existsSync(path) ? realpathSync(path) : path;
  const is = existsSync(file) ? statSync(file) : undefined;
  const mode = (is?.mode ?? 0o644) & 0o777;
  replaceFile(file, text, { file: mode, folder: 0o755 });
  // Whatever the agent's umask is.
  chmodSync(file, mode);
  if (is) chownSync(file, is.uid, is.gid);
}

function unusable(path: string, error: unknown): WarrenError {
  return new WarrenError('DOCKER_CONFIG_UNUSABLE', `${path} cannot be changed: ${errorMessage(error)}`, {
    hint: 'Name another file with --daemon-config, or leave it alone with --no-names.',
    cause: error,
  });
}
