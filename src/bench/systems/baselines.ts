/** The two that the kernel does alone: no overlay at all, and its own VXLAN. */
import { release } from 'node:os';
import { ipBatch } from '../../host/ip.ts';
import type { System } from '../system.ts';

const UNDERLAY_MTU_BYTES = 1500;
/** Outer IPv4, UDP, VXLAN and inner Ethernet headers: 20 + 8 + 8 + 14. */
const VXLAN_MTU_BYTES = UNDERLAY_MTU_BYTES - 50;
const VXLAN_DEVICE = 'vx0';

/** The underlay itself: from eth0 to eth0; pods are routed over it without a tunnel. */
export const bareVeth: System = {
  id: 'veth',
  title: 'bare veth',
  role: 'bare',
  encrypted: false,
  async start(stage) {
    const [client, server] = stage.nodes;
    const node = { kind: 'node', client, server, address: server.addresses.ipv4 } as const;
    const pod = await stage.addPods(UNDERLAY_MTU_BYTES, [
      ['via', server.addresses.ipv4],
      ['via', client.addresses.ipv4],
    ]);
    await stage.awaitReachable(node, UNDERLAY_MTU_BYTES);
    await stage.awaitReachable(pod, UNDERLAY_MTU_BYTES);
    return {
      version: `Linux ${release()}`,
      settings: `MTU ${UNDERLAY_MTU_BYTES}`,
      processes: [],
      paths: [node, pod],
    };
  },
};

export const kernelVxlan: System = {
  id: 'vxlan',
  title: 'kernel VXLAN',
  role: 'kernel',
  encrypted: false,
  async start(stage) {
    for (const [index, node] of stage.nodes.entries()) {
      const other = stage.nodes[index === 0 ? 1 : 0];
      const ends = ['local', node.addresses.ipv4, 'remote', other.addresses.ipv4, 'dev', 'eth0'];
      await ipBatch(
        [['link', 'add', VXLAN_DEVICE, 'type', 'vxlan', 'id', '42', 'dstport', '4789', ...ends]],
        {
          netns: node.netns,
        },
      );
    }
    const node = await stage.addressDevices(VXLAN_DEVICE, VXLAN_MTU_BYTES);
    const pod = await stage.addPods(VXLAN_MTU_BYTES, [
      ['via', stage.tunnelAddress(1)],
      ['via', stage.tunnelAddress(0)],
    ]);
    await stage.awaitReachable(node, VXLAN_MTU_BYTES);
    await stage.awaitReachable(pod, VXLAN_MTU_BYTES);
    return {
      version: `Linux ${release()}`,
      settings: `MTU ${VXLAN_MTU_BYTES}, clear text`,
      processes: [],
      paths: [node, pod],
    };
  },
};
