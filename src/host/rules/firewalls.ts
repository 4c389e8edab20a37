/**
 * Firewalls that drop what pods forward. A drop cannot be undone by an accept in another table, so they are told through
 * their own tools, or named with what to type:
 *
 *     firewalld    warren0 and the attachments' interfaces go into its zone `trusted`, until its next start
 *     ufw          its rules are kept on disk, for its administrator to write: named
 *     else         a chain FORWARD of iptables whose policy is DROP: named
 *
 * Whether they are there is seen in their tables, over netlink. What is run costs firewalld a third of a second, so it
 * is asked once a minute at the most.
 */
import { type Clock, realClock } from '../../clock.ts';
import { WarrenError } from '../../errors.ts';
import { type CommandOptions, HostCommandError, type InNetns, runCommand } from '../command.ts';
import type { DockerForwarding } from './docker-forwarding.ts';
import type { FilterView } from './filter-view.ts';
import { forwardProblem, hasFirewalld, interfacesOf, readForwardPolicy } from './forward-policy.ts';
import { inputProblem } from './input-policy.ts';

const ASK_AGAIN_MS = 60_000;

export interface FirewallsOptions {
  readonly tunName: string;
  readonly view: Pick<FilterView, 'has' | 'mentions' | 'dropsByDefault'>;
  readonly docker: Pick<DockerForwarding, 'leads'>;
  /** Whether pods ask this node itself for names. */
  readonly answersNames: boolean;
  readonly where?: InNetns;
  readonly clock?: Clock;
  /** Instead of running the program. */
  readonly run?: (argv: readonly string[], options: CommandOptions) => Promise<string>;
}

export class Firewalls {
  readonly #options: FirewallsOptions;
  readonly #clock: Clock;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  /** Why firewalld could not be told. */
  #problem: string | undefined;
  #hasTold = false;

  constructor(options: FirewallsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? realClock;
  }

  /** Tells firewalld, where it runs; resolves to how many interfaces it had forgotten. */
  async ensure(): Promise<number> {
    if (!this.#hasFirewalld()) {
      this.#problem = undefined;
      return 0;
    }
    if (this.#clock.now() - this.#askedAtMs < ASK_AGAIN_MS) return 0;
    this.#askedAtMs = this.#clock.now();
    let forgotten = 0;
    try {
      for (const name of this.#interfaces()) {
        if (await this.#isTrusted(name)) continue;
        await this.#firewallCmd(`--add-interface=${name}`);
        if (this.#hasTold) forgotten++;
      }
      this.#hasTold = true;
      this.#problem = undefined;
    } catch (error) {
      if (!(error instanceof WarrenError)) throw error;
      this.#problem =
        `firewalld drops what pods send and get, and could not be told otherwise (${error.message}). Run: ` +
        this.#interfaces()
          .map((name) => `firewall-cmd --zone=trusted --add-interface=${name}`)
          .join('; ');
    }
    return forgotten;
  }

  async remove(): Promise<void> {
    if (!this.#hasFirewalld()) return;
    for (const name of this.#interfaces()) {
      try {
        if (await this.#isTrusted(name)) await this.#firewallCmd(`--remove-interface=${name}`);
      } catch (error) {
        // Without its program, nothing was told either.
        if (!(error instanceof WarrenError) || error.code !== 'TOOL_MISSING') throw error;
      }
    }
  }

  problems(): string[] {
    const found = ([4, 6] as const).flatMap((family) => this.#policyProblems(family));
    return [...new Set([...(this.#problem === undefined ? [] : [this.#problem]), ...found])];
  }

  #policyProblems(family: 4 | 6): string[] {
    const { tunName, answersNames, view } = this.#options;
    const found = [
      forwardProblem(readForwardPolicy(family, this.#options), tunName),
      ...(answersNames ? [inputProblem(family, view)] : []),
    ];
    return found.flatMap((one) => (one ? [`${one.problem}. Run: ${one.commands.join('; ')}`] : []));
  }

  #interfaces(): string[] {
    return interfacesOf(this.#options.tunName);
  }

  #hasFirewalld(): boolean {
    return hasFirewalld(this.#options.view);
  }

  /** It answers with its exit code. */
  async #isTrusted(name: string): Promise<boolean> {
    try {
      await this.#firewallCmd(`--query-interface=${name}`);
      return true;
    } catch (error) {
      if (error instanceof HostCommandError && error.exitCode === 1) return false;
      throw error;
    }
  }

  #firewallCmd(what: string): Promise<string> {
    const { run = runCommand, where } = this.#options;
    return run(['firewall-cmd', '--zone=trusted', what], { ...where });
  }
}
