/** Binding a unix socket that others may not open: exclusively, and private from its first moment on. */
import { chmodSync, chownSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { dirname } from 'node:path';
import { errorMessage, WarrenError } from '../errors.ts';
import { agentIsRunning } from './client.ts';

/**
 * Lets `server` listen at `path`, replacing a socket that nobody answers on. Only its owner may open it (0600), or the
 * group `gid` too (0660); a folder that is missing is made (0755). Throws AGENT_RUNNING if somebody answers there,
 * SOCKET_UNUSABLE if it cannot be made; `key` is where its path is configured.
 */
export async function listenOnUnixSocket(
  server: Server,
  options: { readonly path: string; readonly gid: number | undefined; readonly key: string },
): Promise<void> {
  const { path, gid, key } = options;
  try {
    // Whatever the mask.
    if (mkdirSync(dirname(path), { recursive: true }) !== undefined) chmodSync(dirname(path), 0o755);
    await removeStale(path);
    await listenPrivately(server, path);
    if (gid !== undefined) {
      chownSync(path, process.getuid?.() ?? 0, gid);
      chmodSync(path, 0o660);
    }
  } catch (error) {
    server.close();
    if (error instanceof WarrenError) throw error;
    throw new WarrenError(
      'SOCKET_UNUSABLE',
      `cannot make the control socket ${path}: ${errorMessage(error)}`,
      {
        hint: `Set ${key} to a path in a folder that the agent may write to.`,
        cause: error,
      },
    );
  }
}

/** A crash leaves its socket behind; one that answers belongs to an agent that runs. */
async function removeStale(path: string): Promise<void> {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (entry === undefined) return;
  if (!entry.isSocket()) throw new Error('something that is no socket stands there');
  if (await agentIsRunning(path)) {
    throw new WarrenError('AGENT_RUNNING', `another agent is running: it answers on ${path}`, {
      hint: 'Stop it first, or give this one its own node.socket, node.stateDir and tun.name.',
    });
  }
  rmSync(path, { force: true });
}

/** The mask holds while `listen` makes the socket. */
function listenPrivately(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const mask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        chmodSync(path, 0o600);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}
