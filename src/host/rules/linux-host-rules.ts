/**
 * What the agent has in the packet filter of a Linux host: its own way out (egress.ts), networks that do not reach each other
 * (network-isolation.ts), policies (policy-rules.ts, loaded when there are some), and that others let pass what pods forward (docker-forwarding.ts, firewalls.ts). A flush of rules is
 * no event of `ip monitor`, so the kernel is asked over netlink twice a second whether anything has changed, which takes
 * microseconds and starts nothing.
 */
import type { Config } from '../../config/config.ts';
import { NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import { decodeGeneration, getGeneration } from '../../netlink/nf-tables.ts';
import { NETLINK_NETFILTER } from '../../sys/constants.ts';
import { SysError } from '../../sys/errors.ts';
import { NetlinkSocket } from '../../sys/netlink-socket.ts';
import { DockerForwarding } from './docker-forwarding.ts';
import { Egress } from './egress.ts';
import { FilterView } from './filter-view.ts';
import { Firewalls } from './firewalls.ts';
import type { HostRules, PolicyRules } from './host-rules.ts';
import { type IsolatedGroup, NetworkIsolation } from './network-isolation.ts';
import type { LinuxPolicyRules } from './policy-rules.ts';
import { UnchangedRules } from './unchanged-rules.ts';

const LOOK_MS = 500;

interface Parts {
  readonly socket: NetlinkSocket;
  readonly netfilter: NetlinkConversation;
  readonly egress: Egress;
  readonly isolation: NetworkIsolation;
  readonly docker: DockerForwarding;
  readonly firewalls: Firewalls;
  readonly unchanged: UnchangedRules;
  policies: LinuxPolicyRules | undefined;
}

export class LinuxHostRules implements HostRules {
  readonly #config: Config;
  #parts: Parts | undefined;

  constructor(config: Config) {
    this.#config = config;
  }

  async apply(egress: Config['egress']): Promise<void> {
    // A kernel without netfilter has nothing to take away, and nobody in the way.
    if (!egress.masquerade && !this.#canOpen()) return;
    const parts = this.#open();
    await parts.egress.apply(egress);
    await parts.docker.ensure();
    await parts.firewalls.ensure();
  }

  async isolate(groups: readonly IsolatedGroup[]): Promise<void> {
    if (groups.length === 0 && !this.#canOpen()) return;
    await this.#open().isolation.apply(groups);
  }

  async isolated(): Promise<ReadonlyMap<string, readonly string[]>> {
    return this.#canOpen() ? this.#open().isolation.left() : new Map();
  }

  async policies(): Promise<PolicyRules> {
    return this.#policies();
  }

  async repair(): Promise<number> {
    const parts = this.#parts;
    if (parts === undefined) return 0;
    const policies = Number((await parts.policies?.repair()) ?? false);
    const repaired = policies + Number(await parts.egress.repair()) + Number(await parts.isolation.repair());
    return repaired + (await parts.docker.ensure()) + (await parts.firewalls.ensure());
  }

  watch(onDamage: () => void): { stop(): void } {
    const timer = setInterval(() => {
      if (!this.#isRight()) onDamage();
    }, LOOK_MS);
    return {
      stop: () => {
        clearInterval(timer);
        this.close();
      },
    };
  }

  problems(): string[] {
    const parts = this.#parts;
    if (parts === undefined) return [];
    try {
      return [...parts.docker.problems(), ...parts.firewalls.problems()];
    } catch {
      // What cannot be read now is read at the next question.
      return [];
    }
  }

  /** For `--cleanup`: takes away all that an agent of this configuration may have made. */
  async remove(): Promise<void> {
    if (!this.#canOpen()) return;
    const { egress, isolation, docker, firewalls } = this.#open();
    await egress.remove();
    await isolation.remove();
    await (await this.#policies()).remove();
    await docker.remove();
    await firewalls.remove();
  }

  close(): void {
    this.#parts?.socket.close();
    this.#parts = undefined;
  }

  /** What cannot be told is for `repair` to say. */
  #isRight(): boolean {
    const parts = this.#parts;
    if (parts === undefined) return true;
    try {
      return parts.unchanged.areRight();
    } catch {
      return false;
    }
  }

  async #policies(): Promise<LinuxPolicyRules> {
    const { LinuxPolicyRules: Rules } = await import('./policy-rules.ts');
    const parts = this.#open();
    parts.policies ??= new Rules({ tunName: this.#config.tun.name }, parts.netfilter);
    return parts.policies;
  }

  #canOpen(): boolean {
    try {
      this.#open();
      return true;
    } catch (error) {
      if (error instanceof SysError && error.code === 'EPROTONOSUPPORT') return false;
      throw error;
    }
  }

  /** Throws a SysError. */
  #open(): Parts {
    if (this.#parts === undefined) {
      const { tun, cluster } = this.#config;
      const tunName = tun.name;
      const podRanges = cluster.podCidrs.map(({ range }) => range);
      const socket = NetlinkSocket.open(NETLINK_NETFILTER);
      const netfilter = new NetlinkConversation(socket);
      const view = new FilterView(netfilter);
      const docker = new DockerForwarding({ tunName, view });
      const egress = new Egress({ tunName, podRanges }, netfilter);
      const isolation = new NetworkIsolation({ tunName, podRanges }, netfilter);
      const unchanged = new UnchangedRules({
        generation: () => generationOf(netfilter),
        // What could not be done is tried again with the next look of the guard, not twice a second.
        look: () =>
          egress.isRight() &&
          isolation.isRight() &&
          (this.#parts?.policies?.isRight() ?? true) &&
          (docker.problems().length > 0 || docker.isRight()),
      });
      this.#parts = {
        socket,
        netfilter,
        egress,
        isolation,
        docker,
        firewalls: new Firewalls({ tunName, view, docker, answersNames: this.#config.dns.enabled }),
        unchanged,
        policies: undefined,
      };
    }
    return this.#parts;
  }
}

/** Undefined where the kernel has no nf_tables. */
function generationOf(netfilter: NetlinkConversation): number | undefined {
  try {
    const doing = 'asking whether the nftables rules have changed';
    return decodeGeneration(netfilter.ask({ request: getGeneration(), doing }));
  } catch (error) {
    if (isRefusal(error, 'EOPNOTSUPP', 'EINVAL')) return undefined;
    throw error;
  }
}
