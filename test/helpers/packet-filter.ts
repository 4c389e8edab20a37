/** nftables in a lab's namespaces: packets counted, packets lost. */
import type { LabNamespace } from '../../src/lab/host.ts';
import { mustRun } from './in-namespace.ts';

const NEIGHBOURS = [
  ...['nd-router-solicit', 'nd-router-advert', 'nd-neighbor-solicit', 'nd-neighbor-advert'],
  ...['mld-listener-query', 'mld-listener-report', 'mld2-listener-report'],
];

/**
 * Counts from now on every frame that reaches `device`, before its IP stack has looked at it; all but ARP,
 * neighbour discovery and multicast listener reports, which links make by themselves.
 */
export async function countArrivals(namespace: LabNamespace, device: string): Promise<() => Promise<number>> {
  const table = `table netdev arrivals {
    chain ingress {
      type filter hook ingress device "${device}" priority 0;
      ether type arp accept
      icmpv6 type { ${NEIGHBOURS.join(', ')} } accept
      counter
    }
  }`;
  await mustRun(namespace, ['nft', '-f', '-'], { input: table });
  return async () =>
    counterOf(await mustRun(namespace, ['nft', '-j', 'list', 'table', 'netdev', 'arrivals']));
}

/**
 * Keeps a node from sending anything of its own into the overlay from now on, be it multicast, answers or what agents ask
 * each other there, so that all that is counted is of the test. Pods send as before.
 */
export async function silence(node: LabNamespace): Promise<void> {
  const table = `table inet silence {
    chain output { type filter hook output priority 0; oifname "warren0" drop; }
  }`;
  await mustRun(node, ['nft', '-f', '-'], { input: table });
}

/**
 * Loses about `percent` % of the UDP packets to `port` before they reach a socket, until `stop`, which tells how
 * many were lost.
 */
export async function loseUdp(
  namespace: LabNamespace,
  port: number,
  percent: number,
): Promise<{ stop(): Promise<number> }> {
  const table = `table inet loss {
    chain input {
      type filter hook input priority 0;
      udp dport ${port} numgen random mod 100 < ${percent} counter drop
    }
  }`;
  await mustRun(namespace, ['nft', '-f', '-'], { input: table });
  return {
    stop: async () => {
      const lost = counterOf(await mustRun(namespace, ['nft', '-j', 'list', 'table', 'inet', 'loss']));
      await mustRun(namespace, ['nft', 'delete', 'table', 'inet', 'loss']);
      return lost;
    },
  };
}

/**
 * What happens from now on to groups of datagrams (UDP_SEGMENT) to `port` that reach the namespace, which a link between
 * namespaces carries as one: `verdict` is the end of an nft rule, such as `drop`. Single datagrams pass.
 */
export async function onGroups(
  namespace: LabNamespace,
  port: number,
  verdict: string,
): Promise<{ stop(): Promise<number> }> {
  const table = `table inet groups {
    chain arrivals {
      type filter hook prerouting priority raw;
      udp dport ${port} meta length > 1600 counter ${verdict}
    }
  }`;
  await mustRun(namespace, ['nft', '-f', '-'], { input: table });
  return {
    stop: async () => {
      const hit = counterOf(await mustRun(namespace, ['nft', '-j', 'list', 'table', 'inet', 'groups']));
      await mustRun(namespace, ['nft', 'delete', 'table', 'inet', 'groups']);
      return hit;
    },
  };
}

/** The packets of the one counter in a table, as `nft -j` lists it. */
function counterOf(json: string): number {
  const { nftables } = JSON.parse(json) as {
    nftables: { rule?: { expr: { counter?: { packets: number } }[] } }[];
  };
  const counters = nftables.flatMap(({ rule }) => rule?.expr.flatMap(({ counter }) => counter ?? []) ?? []);
  if (counters.length !== 1) throw new Error(`expected one counter, found ${counters.length}`);
  return counters[0]!.packets;
}
