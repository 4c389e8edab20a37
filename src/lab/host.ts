/** A network namespace on a lab's underlay, and what can be done in any namespace. */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { argvInNetns } from '../host/command.ts';
import { type CommandOptions, type CommandResult, runCommand, startCommand } from './command.ts';
import type { UnderlayAddresses } from './underlay.ts';

export class LabNamespace {
  /** Path, such as /run/netns/warrenlab-node-a. */
  readonly netns: string;

  constructor(netns: string) {
    this.netns = netns;
  }

  /** Runs `argv` in here to its end; a non-zero exit code is a result, not an error. */
  exec(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand(argvInNetns(this.netns, argv), options);
  }

  /** Starts `argv` in here and hands out the child; the lab ends it in `down` if it still runs. */
  spawn(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    return startCommand(argvInNetns(this.netns, argv), options);
  }
}

/** A machine on the underlay that runs no agent: a foreign VTEP, an attacker, a traffic source. */
export class LabHost extends LabNamespace {
  readonly name: string;
  /** Of eth0. */
  readonly addresses: UnderlayAddresses;

  constructor(name: string, netns: string, addresses: UnderlayAddresses) {
    super(netns);
    this.name = name;
    this.addresses = addresses;
  }
}

/** A pod of one of the lab's nodes. */
export class LabPod extends LabNamespace {
  readonly node: string;
  readonly name: string;
  /** One of each family that the cluster has. */
  readonly addresses: readonly string[];

  constructor(node: string, name: string, netns: string, addresses: readonly string[]) {
    super(netns);
    this.node = node;
    this.name = name;
    this.addresses = addresses;
  }

  /** Its address of one family; throws if the cluster has none. */
  address(family: 4 | 6): string {
    const found = this.addresses.find((address) => address.includes(':') === (family === 6));
    if (found === undefined) throw new Error(`pod ${this.name} of ${this.node} has no IPv${family} address`);
    return found;
  }
}
