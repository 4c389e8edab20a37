/** `warren docker enable|disable`. */
import type { Command } from 'commander';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, type SocketOption, withSocket } from '../agent-option.ts';

interface DockerOptions extends SocketOption {
  readonly plugin: string;
  readonly engine: string;
}

export function registerDockerCommands(program: Command, context: CliContext): void {
  const { stdout } = context.io;
  const docker = program.command('docker').description("put containers of this node's Docker on the overlay");

  withSocket(
    docker
      .command('enable')
      .description('have the agent be a network and IPAM driver of the Docker engine')
      .option('--plugin <path>', 'the socket that the engine finds', '/run/docker/plugins/warren.sock')
      .option('--engine <path>', "the engine's own socket", '/run/docker.sock')
      .addHelpText(
        'after',
        '\nExamples:\n  warren docker enable\n  docker network create -d warren --ipam-driver warren app',
      ),
  ).action(async ({ plugin, engine, ...options }: DockerOptions) => {
    await agentClient(context, options).enableDocker({ plugin, engine });
    stdout.write(`The driver answers at ${plugin}, now and after each start of the agent.\n`);
    stdout.write('Make a network: docker network create -d warren --ipam-driver warren NAME\n');
  });

  withSocket(
    docker.command('disable').description('take the driver away; no container may be on its networks'),
  ).action(async (options: SocketOption) => {
    await agentClient(context, options).disableDocker();
    stdout.write('The driver is gone.\n');
  });
}
