/**
 * How the control thread's probes of a path (src/dataplane/path-mtus.ts) are known among what comes from the TUN: by
 * this node's own address, which no pod can have as its source, and the identifier of this agent's echoes. They go out
 * whatever the path is thought to carry, and never in fragments: to see what becomes of them is what they are for.
 *
 * Answers of this node's to others' probes may be divided if they ask for it: so that a way back which carries less does
 * not make the way there look small.
 */
import { isDivisibleAnswer, isEchoRequest } from '../wire/icmp-echo.ts';
import { ipVersion, ipv4Source } from '../wire/ipv4.ts';
import { IPV6_SOURCE } from '../wire/ipv6.ts';
import type { ForwardingState } from './forwarding.ts';

export class OwnProbes {
  #identifier = 0;
  #ipv4: number | undefined;
  #ipv6: Int32Array | undefined;

  load(state: ForwardingState): void {
    this.#identifier = state.probeIdentifier;
    this.#ipv4 = state.ownIpv4;
    this.#ipv6 = state.ownIpv6;
  }

  /** Whether the IP packet at `packet` is one. */
  has(view: DataView, packet: number, bytes: number): boolean {
    return this.#isOwn(view, packet) && isEchoRequest(view, packet, bytes, this.#identifier);
  }

  /** Whether it is an answer that may be divided, whatever this node thinks of its path. */
  mayDivide(view: DataView, packet: number, bytes: number): boolean {
    return this.#isOwn(view, packet) && isDivisibleAnswer(view, packet, bytes);
  }

  #isOwn(view: DataView, packet: number): boolean {
    if (ipVersion(view, packet) === 4) return ipv4Source(view, packet) === this.#ipv4;
    const own = this.#ipv6;
    if (own === undefined) return false;
    for (let i = 0; i < 4; i++) {
      if (view.getInt32(packet + IPV6_SOURCE + 4 * i) !== own[i]) return false;
    }
    return true;
  }
}
