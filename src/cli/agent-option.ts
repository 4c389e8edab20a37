/** The options that every command which asks the agent has. */
import type { Command } from 'commander';
import { AgentClient } from '../api/client.ts';
import type { CliContext } from '../terminal/io.ts';

export const DEFAULT_SOCKET = '/run/warren/agent.sock';

export interface SocketOption {
  readonly socket?: string;
}

export function withSocket(command: Command): Command {
  return command.option(
    '-s, --socket <path>',
    `the agent's control socket (default: $WARREN_SOCKET, else ${DEFAULT_SOCKET})`,
  );
}

export function agentClient(context: CliContext, options: SocketOption): AgentClient {
  return new AgentClient(agentSocket(context, options));
}

export function agentSocket(context: CliContext, options: SocketOption): string {
  return options.socket ?? (context.io.env.WARREN_SOCKET || DEFAULT_SOCKET);
}

export function printJson(context: CliContext, value: unknown): void {
  context.io.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
