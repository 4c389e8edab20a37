/**
 * Forwarding past Docker. Its iptables backend sets the policy of FORWARD to DROP, and has a chain for the rules of
 * others, DOCKER-USER, that comes before its own. One jump there leads to a chain of ours, one for each TUN device:
 *
 *     -A DOCKER-USER -j WARREN-warren0
 *     -A WARREN-warren0 -o docker0 -j RETURN      what goes to Docker's own bridges is for Docker to judge
 *     -A WARREN-warren0 -i warren0 -j ACCEPT      and -o, and the same for the attachments' interfaces, wp+
 *
 * Docker's bridges are those whose traffic its rules send to its chain DOCKER. The jump may stand anywhere in DOCKER-USER:
 * whoever put it behind rules of his own meant that. Docker's nftables backend has no such chain, and needs none: its
 * chains drop nothing but what goes to its bridges.
 *
 * Rules of the legacy iptables are only seen by its own programs: without an event they are looked at every 5 minutes.
 */
import { readFileSync } from 'node:fs';
import { WarrenError } from '../../errors.ts';
import type { Family } from '../../ip/address.ts';
import { type CommandOptions, type InNetns, runCommand } from '../command.ts';
import type { FilterView } from './filter-view.ts';

/** All interfaces of attachments, as iptables, ufw and firewalld write it. */
export const ATTACHMENT_INTERFACES = 'wp+';

const DOCKER_CHAIN = 'DOCKER-USER';
/** The kernel's list of legacy tables of this network namespace; absent where its module is not loaded. */
const LEGACY_TABLES = { 4: '/proc/self/net/ip_tables_names', 6: '/proc/self/net/ip6_tables_names' } as const;
const PROGRAMS = { 4: 'iptables', 6: 'ip6tables' } as const;
type Variant = 'nft' | 'legacy';

export interface DockerForwardingOptions {
  readonly tunName: string;
  readonly view: Pick<FilterView, 'has' | 'mentions'>;
  readonly where?: InNetns;
  /** Instead of running the program. */
  readonly run?: (argv: readonly string[], options: CommandOptions) => Promise<string>;
}

export class DockerForwarding {
  readonly #options: DockerForwardingOptions;
  readonly #chain: string;
  /** Families whose jump was made by this process: if it is missing, somebody took it out. */
  readonly #made = new Set<Family>();
  readonly #problems = new Map<Family, string>();

  constructor(options: DockerForwardingOptions) {
    this.#options = options;
    this.#chain = chainOf(options.tunName);
  }

  /** Makes what is missing; resolves to how many of the two families had it before and lost it. */
  async ensure(): Promise<number> {
    let lost = 0;
    for (const family of [4, 6] as const) {
      for (const variant of this.#variants(family)) {
        if ((await this.#ensure(family, variant)) && this.#made.has(family)) lost++;
        this.#made.add(family);
      }
    }
    return lost;
  }

  /** What can be seen without starting a program: the rules of iptables-nft. */
  isRight(): boolean {
    return ([4, 6] as const).every((family) => !this.#hasNft(family) || this.leads(family));
  }

  /** Whether forwarded packets of this family come through our chain. */
  leads(family: Family): boolean {
    const { view, tunName } = this.#options;
    return (
      view.mentions(family, 'filter', DOCKER_CHAIN, this.#chain) &&
      view.mentions(family, 'filter', this.#chain, tunName, ATTACHMENT_INTERFACES.slice(0, -1))
    );
  }

  async remove(): Promise<void> {
    for (const family of [4, 6] as const) {
      for (const variant of this.#variants(family)) {
        try {
          const script = removalScript(this.#chain, await this.#list(family, variant));
          if (script !== undefined) await this.#restore(family, variant, script);
        } catch (error) {
          // Without the program nothing was made either.
          if (!(error instanceof WarrenError) || error.code !== 'TOOL_MISSING') throw error;
        }
      }
    }
    this.#made.clear();
  }

  problems(): string[] {
    return [...new Set(this.#problems.values())];
  }

  async #ensure(family: Family, variant: Variant): Promise<boolean> {
    try {
      const rules = await this.#list(family, variant);
      const script = jumpScript(this.#options.tunName, rules);
      if (script !== undefined) await this.#restore(family, variant, script);
      if (variant === 'legacy' || this.leads(family)) this.#problems.delete(family);
      else
        this.#fail(
          family,
          `${PROGRAMS[family]} does not show the rules that Docker has made by iptables-nft`,
        );
      return script !== undefined;
    } catch (error) {
      if (!(error instanceof WarrenError)) throw error;
      this.#fail(family, `${error.message}${error.hint === undefined ? '' : `. ${error.hint}`}`);
      return false;
    }
  }

  #fail(family: Family, reason: string): void {
    this.#problems.set(
      family,
      `Docker drops what pods forward, and nothing could be put into its chain ${DOCKER_CHAIN}: ${reason}`,
    );
  }

  #variants(family: Family): Variant[] {
    return [
      ...(this.#hasNft(family) ? (['nft'] as const) : []),
      ...(hasLegacyFilter(family) ? (['legacy'] as const) : []),
    ];
  }

  #hasNft(family: Family): boolean {
    return this.#options.view.has(family, 'filter', DOCKER_CHAIN);
  }

  async #list(family: Family, variant: Variant): Promise<string[]> {
    return (await this.#run(family, variant, '', ['-w', '-S'])).split('\n');
  }

  async #restore(family: Family, variant: Variant, stdin: string): Promise<void> {
    await this.#run(family, variant, '-restore', ['-w', '--noflush'], stdin);
  }

  /** By the variant's own program, or the one that has no variant in its name. */
  async #run(family: Family, variant: Variant, suffix: string, args: readonly string[], stdin?: string) {
    const { run = runCommand, where } = this.#options;
    const options = { ...where, stdin };
    try {
      return await run([`${PROGRAMS[family]}-${variant}${suffix}`, ...args], options);
    } catch (error) {
      if (!(error instanceof WarrenError) || error.code !== 'TOOL_MISSING') throw error;
      return await run([`${PROGRAMS[family]}${suffix}`, ...args], options);
    }
  }
}

/**
 * What `iptables-restore --noflush` is to read, in one transaction, given all rules as `iptables -S` prints them;
 * undefined if nothing is missing, or there is no DOCKER-USER.
 */
export function jumpScript(tunName: string, rules: readonly string[]): string | undefined {
  if (!rules.includes(`-N ${DOCKER_CHAIN}`)) return undefined;
  const chain = chainOf(tunName);
  const bridges = rules.flatMap((rule) => /^-A \S+ -o (\S+) -j DOCKER$/.exec(rule)?.[1] ?? []);
  const wanted = [
    ...[...new Set(bridges)].sort().map((bridge) => `-A ${chain} -o ${bridge} -j RETURN`),
    ...[tunName, ATTACHMENT_INTERFACES].flatMap((name) => [
      `-A ${chain} -i ${name} -j ACCEPT`,
      `-A ${chain} -o ${name} -j ACCEPT`,
    ]),
  ];
  const present = rules.filter((rule) => rule.startsWith(`-A ${chain} `));
  const hasJump = rules.includes(`-A ${DOCKER_CHAIN} -j ${chain}`);
  if (hasJump && present.join('\n') === wanted.join('\n')) return undefined;
  return script([`:${chain} - [0:0]`, ...wanted, ...(hasJump ? [] : [`-I ${DOCKER_CHAIN} -j ${chain}`])]);
}

/** The same for taking it out again. */
function removalScript(chain: string, rules: readonly string[]): string | undefined {
  if (!rules.includes(`-N ${chain}`)) return undefined;
  const jumps = rules.filter((rule) => rule === `-A ${DOCKER_CHAIN} -j ${chain}`);
  return script([...jumps.map((rule) => rule.replace('-A', '-D')), `-F ${chain}`, `-X ${chain}`]);
}

function script(lines: readonly string[]): string {
  return ['*filter', ...lines, 'COMMIT', ''].join('\n');
}

/** A chain's name may have 28 characters. */
function chainOf(tunName: string): string {
  return `WARREN-${tunName}`;
}

/** Whether the legacy iptables has rules here, which its own programs alone show. */
export function hasLegacyFilter(family: Family): boolean {
  try {
    return readFileSync(LEGACY_TABLES[family], 'utf8').split('\n').includes('filter');
  } catch {
    return false;
  }
}
