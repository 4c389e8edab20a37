/** Everything in a lab that has an overlay address, and pings between them. */
import type { CommandResult } from '../../src/lab/command.ts';
import type { LabNamespace } from '../../src/lab/host.ts';
import type { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';

export interface OverlayEndpoint {
  /** `ovl-a` for a node, `ovl-a/pod-1` for a pod. */
  readonly name: string;
  readonly namespace: LabNamespace;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** `nodes` of `lab` (default: all) with all their pods. */
export async function overlayEndpoints(
  lab: Lab,
  nodes: readonly LabNode[] = lab.nodes,
): Promise<OverlayEndpoint[]> {
  const perNode = await Promise.all(
    nodes.map(async (node) => {
      const { status, pods } = await node.view();
      const own = endpoint(node.name, node, status.tun.addresses);
      const podEndpoints = await Promise.all(
        pods.map(async ({ name, addresses }) =>
          endpoint(`${node.name}/${name}`, await lab.pod(node.name, name), addresses),
        ),
      );
      return [own, ...podEndpoints];
    }),
  );
  return perNode.flat();
}

/**
 * For ping(8), where it is meant that an answer comes, not when: a machine that is busy may stall for seconds. An answer ends it
 * at once, and what is lost is not sent again.
 */
export const PATIENTLY = ['-W', '15'] as const;

/** Sends one echo request; `options` go to ping(8). */
export function ping(
  from: LabNamespace,
  address: string,
  options: readonly string[] = [],
): Promise<CommandResult> {
  return from.exec(['ping', '-n', '-c', '1', '-W', '2', ...options, address]);
}

/** Pings every address of `targets` from every endpoint of `sources`; `A -> ADDRESS` for each that failed. */
export async function failedPings(
  sources: readonly OverlayEndpoint[],
  targets: readonly OverlayEndpoint[],
): Promise<{ readonly tried: number; readonly failed: readonly string[] }> {
  const pairs = sources.flatMap((source) =>
    targets.flatMap((target) => [target.ipv4, target.ipv6].map((address) => ({ source, target, address }))),
  );
  const failed: string[] = [];
  const queue = pairs.values();
  const worker = async (): Promise<void> => {
    for (const { source, target, address } of queue) {
      const { code, stdout, stderr } = await ping(source.namespace, address, PATIENTLY);
      if (code !== 0) failed.push(`${source.name} -> ${target.name} (${address}): ${stdout}${stderr}`);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  return { tried: pairs.length, failed };
}

/** Pings that wait at the same time. */
const CONCURRENCY = 8;

function endpoint(name: string, namespace: LabNamespace, addresses: readonly string[]): OverlayEndpoint {
  const ipv4 = addresses.find((address) => !address.includes(':'));
  const ipv6 = addresses.find((address) => address.includes(':'));
  if (ipv4 === undefined || ipv6 === undefined) throw new Error(`${name} has only ${addresses.join(', ')}`);
  return { name, namespace, ipv4, ipv6 };
}
