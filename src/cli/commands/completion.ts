/** `warren completion SHELL`: prints the shell's script, and what that script asks for while somebody types. */
import { Argument, type Command } from 'commander';
import { AgentClient } from '../../api/client.ts';
import type { CliContext } from '../../terminal/io.ts';
import { DEFAULT_SOCKET } from '../agent-option.ts';
import type { Candidate, LiveKind } from '../completion/candidates.ts';
import type { Shell } from '../completion/scripts.ts';

/** Somebody waits at a prompt. */
const AGENT_TIMEOUT_MS = 1000;
const MAX_CANDIDATES = 1000;

/** `buildProgram`: all commands that `words` may mean. */
export function registerCompletionCommand(
  program: Command,
  context: CliContext,
  buildProgram: (words: readonly string[]) => Promise<Command>,
): void {
  program
    .command('completion')
    .description('print the script with which a shell completes warren')
    .addArgument(new Argument('<shell>', 'whose script').choices(['bash', 'zsh', 'fish']))
    .argument('[words...]', 'after --, words of a command line: print instead what the last may become')
    .addHelpText(
      'after',
      '\nExamples:\n  source <(warren completion bash)\n  source <(warren completion zsh)\n  warren completion fish | source',
    )
    .action(async (shell: Shell, words: string[]) => {
      if (words.length === 0) {
        const { COMPLETION_SCRIPTS } = await import('../completion/scripts.ts');
        context.io.stdout.write(COMPLETION_SCRIPTS[shell]);
        return;
      }
      const { candidatesFor } = await import('../completion/candidates.ts');
      const found = await candidatesFor(await buildProgram(words), words, (kind, socket) =>
        liveNames(kind, socket ?? (context.io.env.WARREN_SOCKET || DEFAULT_SOCKET)),
      );
      const lines = found.slice(0, MAX_CANDIDATES).map((candidate) => `${lineOf(shell, candidate)}\n`);
      context.io.stdout.write(lines.join(''));
    });
}

function lineOf(shell: Shell, { word, description }: Candidate): string {
  if (shell === 'bash' || description === '') return shell === 'zsh' ? word.replaceAll(':', '\\:') : word;
  return shell === 'zsh' ? `${word.replaceAll(':', '\\:')}:${description}` : `${word}\t${description}`;
}

/** Without an agent that answers there are no names, which is no error at a prompt. */
async function liveNames(kind: LiveKind, socket: string): Promise<Candidate[]> {
  const client = new AgentClient(socket, AGENT_TIMEOUT_MS);
  try {
    switch (kind) {
      case 'pods':
        return (await client.pods()).map(({ name, addresses }) => ({
          word: name,
          description: addresses.join(' '),
        }));
      case 'peers':
        return (await client.peers())
          .filter((peer) => peer.kind === 'gossip')
          .map(({ name, status }) => ({ word: name, description: status }));
      case 'wireguard-peers':
        return (await client.wireguardPeers()).map(({ name, addresses }) => ({
          word: name,
          description: addresses.join(' '),
        }));
      case 'allPods':
        return (await client.inventory()).map(({ name, node }) => ({
          word: name,
          description: `on ${node}`,
        }));
      case 'policies':
        return (await client.policies()).policies
          .filter(({ source }) => source === undefined)
          .map(({ name, staged }) => ({ word: name, description: staged ? 'staged' : '' }));
      case 'traceEnds': {
        const [pods, peers, status] = await Promise.all([
          client.inventory(),
          client.peers(),
          client.status(),
        ]);
        const nodes = [
          status.node.name,
          ...peers.filter(({ kind }) => kind === 'gossip').map(({ name }) => name),
        ];
        return [
          ...pods.map(({ name, node, addresses }) => ({
            word: `${name}.${node}`,
            description: addresses.join(' '),
          })),
          ...nodes.map((name) => ({ word: `node:${name}`, description: 'the node itself' })),
        ];
      }
      case 'dropReasons':
        // The kernel's own drops are counted, and nobody sees them.
        return Object.entries((await client.status()).datapath.drops)
          .filter(([reason]) => !reason.endsWith('-overflow'))
          .map(([reason, count]) => ({ word: reason, description: String(count) }));
      case 'nodes':
        // By id: a node chooses its name itself.
        return (await client.listNodes()).nodes
          .filter(({ self }) => !self)
          .map(({ id, name, admission }) => ({ word: id, description: `${name}, ${admission}` }));
      case 'keys':
        return (await client.listKeys()).keys.map(({ fingerprint }) => ({
          word: fingerprint,
          description: '',
        }));
    }
  } catch {
    return [];
  }
}
