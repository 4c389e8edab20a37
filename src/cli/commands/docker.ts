/** `warren docker enable|disable`. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { CliContext } from '../../terminal/io.ts';
import { agentClient, type SocketOption, withSocket } from '../agent-option.ts';

/** It reads `dns` then and never else, also not on SIGHUP. */
const RESTART = 'Restart the engine: systemctl restart docker';

interface DockerOptions extends SocketOption {
  readonly plugin: string;
  readonly engine: string;
  readonly daemonConfig: string;
  /** False with --no-names. */
  readonly names: boolean;
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
      .option('--daemon-config <path>', "the engine's configuration file", '/etc/docker/daemon.json')
      .option('--no-names', 'leave that file alone: containers find no names of other hosts')
      .addHelpText(
        'after',
        '\nExamples:\n  warren docker enable\n  docker network create -d warren --ipam-driver warren app',
      ),
  ).action(async ({ plugin, engine, daemonConfig, names, ...options }: DockerOptions) => {
    const settings = { plugin, engine, ...(names && { daemonConfig: resolve(daemonConfig) }) };
    const { names: done } = await agentClient(context, options).enableDocker(settings);
    stdout.write(`The driver answers at ${plugin}, now and after each start of the agent.\n`);
    stdout.write('Make a network: docker network create -d warren --ipam-driver warren NAME\n');
    if (names && done === undefined) stdout.write('Names are off on this node (dns.enabled).\n');
    if (done?.isChanged) stdout.write(`${done.file} is changed. ${RESTART}\n`);
  });

  withSocket(
    docker.command('disable').description('take the driver away; no container may be on its networks'),
  ).action(async (options: SocketOption) => {
    const { names } = await agentClient(context, options).disableDocker();
    stdout.write('The driver is gone.\n');
    if (names?.isChanged) stdout.write(`${names.file} no longer names this node. ${RESTART}\n`);
  });
}
