/**
 * What the agent has in the packet filter of a Linux host: its own way out (egress.ts). A flush of rules is no event of
 * `ip monitor`, so the kernel is asked over netlink twice a second, which takes microseconds and starts nothing.
 */
import type { Config } from '../../config/config.ts';
import { NetlinkConversation } from '../../netlink/conversation.ts';
import { NETLINK_NETFILTER } from '../../sys/constants.ts';
import { SysError } from '../../sys/errors.ts';
import { NetlinkSocket } from '../../sys/netlink-socket.ts';
import { Egress } from './egress.ts';
import type { HostRules } from './host-rules.ts';

const LOOK_MS = 500;

export class LinuxHostRules implements HostRules {
  readonly #config: Config;
  #parts: { readonly socket: NetlinkSocket; readonly egress: Egress } | undefined;

  constructor(config: Config) {
    this.#config = config;
  }

  async apply(egress: Config['egress']): Promise<void> {
    // A kernel without netfilter has nothing to take away.
    if (!egress.masquerade && !this.#canOpen()) return;
    await this.#open().egress.apply(egress);
  }

  async repair(): Promise<number> {
    if (this.#parts === undefined) return 0;
    return Number(await this.#parts.egress.repair());
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
    return [];
  }

  /** For `--cleanup`: takes away all that an agent of this configuration may have made. */
  async remove(): Promise<void> {
    if (this.#canOpen()) await this.#open().egress.remove();
  }

  close(): void {
    this.#parts?.socket.close();
    this.#parts = undefined;
  }

  /** What cannot be told is for `repair` to say. */
  #isRight(): boolean {
    try {
      return this.#parts?.egress.isRight() ?? true;
    } catch {
      return false;
    }
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
  #open() {
    if (this.#parts === undefined) {
      const { tun, cluster } = this.#config;
      const socket = NetlinkSocket.open(NETLINK_NETFILTER);
      const options = { tunName: tun.name, podRanges: cluster.podCidrs.map(({ range }) => range) };
      this.#parts = { socket, egress: new Egress(options, new NetlinkConversation(socket)) };
    }
    return this.#parts;
  }
}
