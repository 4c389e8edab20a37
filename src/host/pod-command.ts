/** Runs a program in a pod's network namespace, with that one's resolv.conf where there is one (netns-resolv.ts). */
import { existsSync } from 'node:fs';
import { argvInNetns, runCommand } from './command.ts';
import { netnsResolvFile } from './netns-resolv.ts';

/** Whether this process may have mounts that nobody else sees. */
const TRIAL = ['unshare', '--mount', '--propagation', 'slave', '--', 'true'];
/**
 * $0 is the file, and what follows the program: no word of either is read as a script. Where the file cannot be put in
 * place, the program runs with the host's.
 */
const SCRIPT = 'mount --bind "$0" /etc/resolv.conf 2>/dev/null; exec "$@"';

export async function argvInPod(netns: string, argv: readonly string[]): Promise<string[]> {
  const file = netnsResolvFile(netns);
  if (file === undefined || !existsSync(file)) return argvInNetns(netns, argv);
  try {
    await runCommand(TRIAL);
  } catch {
    return argvInNetns(netns, argv);
  }
  return argvInNetns(netns, [...TRIAL.slice(0, -1), 'sh', '-c', SCRIPT, file, ...argv]);
}
