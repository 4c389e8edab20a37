/**
 * The Linux kernel's own VXLAN-GPE device as a static peer: a second implementation of the wire format, with a
 * TCP stack behind it that checks every checksum.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LabHost, LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { underlayAddresses } from '../../src/lab/underlay.ts';
import { mustRun, stackCounters } from '../helpers/in-namespace.ts';
import { PATIENTLY, ping } from '../helpers/overlay-endpoints.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const VNI = 42;
const PORT = 4790;
/** The number of a lab's first host without an agent. */
const KERNEL_NUMBER = 201;
const KERNEL = { 4: '10.43.0.1', 6: 'fd43::1' } as const;
const KERNEL_SUBNETS = ['10.43.0.0/24', 'fd43::/64'];
const FAMILIES = [4, 6] as const;
const TRANSFER_BYTES = 4_000_000;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter', 'nstat', 'nft'), "the kernel's VXLAN-GPE", () => {
  describe.each(['ipv4', 'ipv6'] as const)('over an %s underlay', (underlay) => {
    const probes: Probe[] = [];
    let lab: Lab;
    let kernel: LabHost;

    beforeAll(async () => {
      const address = underlayAddresses(KERNEL_NUMBER)[underlay];
      const endpoint = underlay === 'ipv4' ? `${address}:${PORT}` : `[${address}]:${PORT}`;
      lab = await Lab.up({
        encapsulation: 'vxlan-gpe',
        name: `kernel${underlay}`,
        nodes: 2,
        pods: 1,
        underlay,
        // The second node does without any offload.
        config: ({ name }) => ({
          staticPeers: [{ name: 'kernel', endpoint, subnets: KERNEL_SUBNETS }],
          ...(name.endsWith('-b') ? { datapath: { offload: 'off' } } : {}),
        }),
      });
      kernel = await lab.addHost('kernel');
      expect(kernel.addresses[underlay]).toBe(address);
      await addKernelDevice(kernel, lab.nodes, underlay);
      // A veth pair lets inner checksums and segmentation pass undone, for hardware that is not there; no wire
      // has ever carried such packets.
      await startProbe(kernel).disableTransmitOffload('eth0');
    });
    afterAll(async () => {
      for (const probe of probes) probe.stop();
      await lab?.down();
    });

    function startProbe(namespace: LabHost | LabPod): Probe {
      const probe = new Probe(namespace);
      probes.push(probe);
      return probe;
    }

    describe.each([
      ['with all offloads', 0],
      ['without any offload', 1],
    ] as const)('%s', (_, index) => {
      test('the offloads are what this is about', async () => {
        const { datapath } = (await lab.node(index).view()).status;
        expect(Object.values(datapath.offloads)).toEqual(
          Object.keys(datapath.offloads).map(() => index === 0),
        );
      });

      describe.each(FAMILIES)('IPv%i', (family) => {
        test('pings pass both ways', async () => {
          const pod = await lab.pod(index, 'pod-1');
          const own = (await lab.node(index).view()).status.tun.addresses[family === 4 ? 0 : 1]!;
          for (const [from, to] of [
            [pod, KERNEL[family]],
            [lab.node(index), KERNEL[family]],
            [kernel, pod.address(family)],
            [kernel, own],
          ] as const) {
            const { code, stdout } = await ping(from, to, PATIENTLY);
            expect(code, stdout).toBe(0);
          }
        });

        test('a stream to the kernel arrives whole, every checksum right', async () => {
          const pod = await lab.pod(index, 'pod-1');
          const before = await checksumErrors(kernel);
          const listener = await startProbe(kernel).receiver(KERNEL[family]);
          const sent = await startProbe(pod).transfer(listener, TRANSFER_BYTES, `to ${underlay} ${family}`);
          expect(sent.receipt).toEqual({
            bytes: TRANSFER_BYTES,
            sha256: sent.sha256,
            from: pod.address(family),
          });
          expect(await checksumErrors(kernel)).toEqual(before);
        });

        test('datagrams of all kinds come back from the kernel, every checksum right', async () => {
          const pod = await lab.pod(index, 'pod-1');
          const before = await checksumErrors(kernel);
          const echo = await startProbe(kernel).udpEcho(KERNEL[family]);
          const probe = startProbe(pod);
          const sizes = [1, 2, 3, 99, 100, 1000, 1001, 1300, 1301, 2000, 9001];
          expect(await probe.udpExchange(pod.address(family), echo, sizes, 1)).toEqual({
            wrong: [],
            lost: [],
          });
          expect(await probe.udpSegments(pod.address(family), echo, 40, 1200)).toBe(40);
          expect(await checksumErrors(kernel)).toEqual(before);
        });

        test('a stream from the kernel arrives whole', async () => {
          const pod = await lab.pod(index, 'pod-1');
          const before = await checksumErrors(pod);
          const listener = await startProbe(pod).receiver(pod.address(family));
          const sent = await startProbe(kernel).transfer(listener, TRANSFER_BYTES, `from ${family}`);
          expect(sent.receipt).toEqual({ bytes: TRANSFER_BYTES, sha256: sent.sha256, from: KERNEL[family] });
          expect(await checksumErrors(pod)).toEqual(before);
        });
      });
    });

    // The last one: what comes in superpackets does not get through any more.
    test('the path to it is measured, where what is too big is dropped without a word', async () => {
      const outerMtu = 1400;
      const drop = `type filter hook input priority 0; udp dport ${PORT} meta length > ${outerMtu} drop;`;
      await mustRun(kernel, ['nft', `table inet narrow { chain input { ${drop} }; }`]);
      const pod = await lab.pod(1, 'pod-1');
      const node = lab.node(1);
      const mtu = async () => (await node.client().peers()).find(({ name }) => name === 'kernel')?.mtu;
      const inner = outerMtu - (underlay === 'ipv4' ? 36 : 56);
      // Each ping is traffic, which a path without any would not be measured for.
      const measured = async () => {
        await ping(pod, KERNEL[4]);
        return mtu();
      };
      await expect.poll(measured, { timeout: 30_000, interval: 10 }).toBe(inner);
    });
  });
});

/** Makes `host` a VTEP with routes to the subnets of `nodes`. */
async function addKernelDevice(
  host: LabHost,
  nodes: readonly LabNode[],
  underlay: 'ipv4' | 'ipv6',
): Promise<void> {
  const device = ['type', 'vxlan', 'dstport', String(PORT), 'gpe', 'external'];
  await mustRun(host, ['ip', 'link', 'add', 'vxg', ...device]);
  await mustRun(host, ['ip', 'link', 'set', 'vxg', 'mtu', underlay === 'ipv4' ? '1464' : '1444', 'up']);
  await mustRun(host, ['ip', 'address', 'add', `${KERNEL[4]}/32`, 'dev', 'vxg']);
  await mustRun(host, ['ip', 'address', 'add', `${KERNEL[6]}/128`, 'dev', 'vxg', 'nodad']);
  for (const node of nodes) {
    // UDP over IPv6 must carry a checksum; the kernel's devices send none unless told.
    const encap =
      underlay === 'ipv4'
        ? ['ip', 'id', String(VNI), 'dst', node.addresses.ipv4]
        : ['ip6', 'id', String(VNI), 'dst', node.addresses.ipv6, 'csum'];
    for (const prefix of (await node.view()).status.lease.subnets) {
      const source = KERNEL[prefix.includes(':') ? 6 : 4];
      const route = ['route', 'add', prefix, 'encap', ...encap, 'dev', 'vxg', 'src', source];
      await mustRun(host, ['ip', ...route]);
    }
  }
}

/** Packets that the namespace's stack has refused for their checksum. */
function checksumErrors(namespace: LabHost | LabPod): Promise<Record<string, number>> {
  return stackCounters(namespace, 'TcpInCsumErrors', 'UdpInCsumErrors', 'Udp6InCsumErrors', 'IpInCsumErrors');
}
