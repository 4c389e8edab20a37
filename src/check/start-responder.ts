/** Starts the program that answers checks on this host. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { errorMessage, WarrenError } from '../errors.ts';
import { builtFile } from '../package.ts';
import { z } from '../zod.ts';
import {
  type ResponderAnswer,
  type ResponderSettings,
  responderEndpoint,
  TOKEN_BYTES,
} from './responder-messages.ts';

/** For it to listen everywhere. */
const START_TIMEOUT_MS = 10_000;

/**
 * Resolves once it listens; it goes on for as long as it was asked for, whatever becomes of this process. Under systemd it is given a
 * scope of its own, since a service takes all its processes along when it is restarted. Throws CHECK_RESPONDER.
 */
export async function startResponder({
  seconds,
  listenOn,
}: Omit<ResponderSettings, 'token'>): Promise<ResponderAnswer> {
  const token = randomBytes(TOKEN_BYTES).toString('hex');
  const program = [process.execPath, builtFile('check/responder')];
  const isService = process.env.INVOCATION_ID !== undefined && process.env.NOTIFY_SOCKET !== undefined;
  const argv = isService ? ['systemd-run', '--scope', '--quiet', '--collect', ...program] : program;
  const child = spawn(argv[0]!, argv.slice(1), { detached: true, stdio: ['pipe', 'pipe', 'ignore'] });
  child.stdin.on('error', () => {});
  child.stdin.end(JSON.stringify({ token, seconds, listenOn } satisfies ResponderSettings));
  try {
    const line = await new Promise<string>((resolve, reject) => {
      let text = '';
      const timer = setTimeout(() => reject(new Error('it does not say where it listens')), START_TIMEOUT_MS);
      timer.unref();
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`it ended with code ${code}`)));
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk;
        if (!text.includes('\n')) return;
        clearTimeout(timer);
        resolve(text);
      });
    });
    return { token, endpoints: z.array(responderEndpoint).parse(JSON.parse(line)) };
  } catch (error) {
    child.kill('SIGKILL');
    throw new WarrenError(
      'CHECK_RESPONDER',
      `the program that answers cannot be started: ${errorMessage(error)}`,
      {
        cause: error,
      },
    );
  } finally {
    // It is nobody's child from here on.
    child.stdout.destroy();
    child.unref();
  }
}
