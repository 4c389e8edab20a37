/** The overlay as pods and nodes see it: who reaches whom, and under which address. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LabNamespace } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { failedPings, type OverlayEndpoint, overlayEndpoints } from '../helpers/overlay-endpoints.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NODES = 3;
const PODS = 2;
const FAMILIES = ['ipv4', 'ipv6'] as const;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'the overlay', () => {
  describe.each(FAMILIES)('over an %s underlay', (underlay) => {
    let lab: Lab;
    let endpoints: OverlayEndpoint[];
    const probes = new Map<LabNamespace, Probe>();

    beforeAll(async () => {
      lab = await Lab.up({ name: `overlay${underlay}`, nodes: NODES, pods: PODS, underlay });
      endpoints = await overlayEndpoints(lab);
    });
    afterAll(async () => {
      for (const probe of probes.values()) probe.stop();
      await lab?.down();
    });

    function probe(namespace: LabNamespace): Probe {
      const known = probes.get(namespace) ?? new Probe(namespace);
      probes.set(namespace, known);
      return known;
    }

    test('every node and pod reaches every node and pod, in both families', async () => {
      expect(endpoints).toHaveLength(NODES * (1 + PODS));
      expect(new Set(endpoints.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])).size).toBe(2 * endpoints.length);
      const { tried, failed } = await failedPings(endpoints, endpoints);
      expect(failed).toEqual([]);
      expect(tried).toBe(2 * endpoints.length ** 2);
      for (const node of lab.nodes) {
        const { status } = await node.view();
        expect(status.underlay.address).toBe(node.addresses[underlay]);
        expect(status.datapath.outbound.packets).toBeGreaterThan(0);
        expect(status.datapath.inbound.packets).toBeGreaterThan(0);
        const drops = Object.entries({
          ...status.datapath.drops,
          // The kernel's multicast listener reports of the TUN device are no part of the overlay.
          'outbound-not-unicast': 0,
          // An agent that has no time to answer is asked again after 250 ms, and its first answer is of no use then.
          'inbound-handshake-refused': 0,
        });
        expect(drops.filter(([, packets]) => packets > 0)).toEqual([]);
      }
    });

    describe.each(FAMILIES)('%s', (family) => {
      test.each([
        ['a pod', 'a pod of another node', 1, 4],
        ['a pod', 'a pod of its own node', 1, 2],
        ['a node', 'a pod of another node', 0, 4],
        ['a node', 'its own pod', 0, 1],
        ['a pod', 'another node', 1, 3],
        ['a pod', 'its own node', 1, 0],
        ['a node', 'another node', 0, 3],
      ])('%s that connects to %s shows its own address', async (_, __, client, server) => {
        const from = endpoints[client]!;
        const to = endpoints[server]!;
        const listener = await probe(to.namespace).receiver(to[family]);
        const sent = await probe(from.namespace).transfer(listener, 10_000, `${from.name} ${to.name}`);
        expect(sent.receipt).toEqual({ bytes: 10_000, sha256: sent.sha256, from: from[family] });
        expect(sent.from).toBe(from[family]);
      });
    });
  });
});
