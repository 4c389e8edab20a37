/** Who looks without a token sees no name, wherever a report has one, and the same pseudonym everywhere. */
import { expect, it } from 'vitest';
import { redacted } from '../../../src/api/redaction.ts';
import { TOPICS } from '../../../src/readmodel/topics.ts';
import { FakeAgent, fakeStatus } from '../../helpers/fake-agent.ts';

const NAMES = ['node-alpha', 'node-beta', 'web-pod', 'db-pod', 'secret-net', 'our-cluster', 'shop', 'front'];

function agent(): FakeAgent {
  const one = new FakeAgent();
  one.statusReport = {
    ...fakeStatus,
    node: { ...fakeStatus.node, name: 'node-alpha' },
    cluster: { ...fakeStatus.cluster, name: 'our-cluster', problems: ['node-beta says no'] },
    kubernetes: {
      ...{ server: 'https://our-cluster.example', node: 'node-alpha', ipam: 'warren', podCidrs: [] },
      ...{ api: 'connected', awaySeconds: 0, nodes: 3 },
    },
  };
  one.peerReports = one.peerReports.map((peer) => ({
    ...peer,
    name: 'node-beta',
    unreachable: 'node-beta has no key',
  }));
  one.podReports = one.podReports.map((pod) => ({
    ...pod,
    name: 'web-pod',
    netns: '/run/netns/web-pod',
    labels: { app: 'shop' },
  }));
  one.inventoryReports = [
    {
      node: 'node-alpha',
      status: 'alive',
      name: 'web-pod',
      addresses: ['10.42.1.2'],
      network: 'secret-net',
      labels: { app: 'shop', tier: 'front' },
    },
    { node: 'node-beta', status: 'dead', name: 'db-pod', addresses: ['10.42.2.2'] },
  ];
  one.leasesReport = {
    ...one.leasesReport,
    leases: one.leasesReport.leases.map((lease) => ({
      ...lease,
      node: 'node-alpha',
      conflicts: ['node-beta'],
    })),
  };
  one.eventReports = one.eventReports.map((event) => ({ ...event, node: 'node-beta' }));
  return one;
}

it('has no name in any report', () => {
  const model = redacted(agent());
  const texts = [...TOPICS.map((topic) => JSON.stringify(model[topic]())), JSON.stringify(model.history(0))];
  for (const text of texts) for (const name of NAMES) expect(text).not.toContain(name);
  // What this test would find: all of them are there without redaction.
  const clear = agent();
  const all = TOPICS.map((topic) => JSON.stringify(clear[topic]())).join();
  for (const name of NAMES) expect(all).toContain(name);
});

it('calls a node the same everywhere, and another one otherwise', () => {
  const model = redacted(agent());
  const [beta] = model.peers();
  expect(beta!.name).toMatch(/^node-[0-9a-f]{8}$/);
  expect(model.events()[0]!.node).toBe(beta!.name);
  expect(model.inventory()[1]!.node).toBe(beta!.name);
  expect(model.leases().leases[0]!.conflicts).toEqual([beta!.name]);
  expect(model.status().node.name).not.toBe(beta!.name);
  // Of another run of an agent.
  expect(redacted(agent()).peers()[0]!.name).not.toBe(beta!.name);
});

it('leaves out labels and sentences, and leaves numbers and addresses as they are', () => {
  const model = redacted(agent());
  expect(model.inventory()[0]).not.toHaveProperty('labels');
  expect(model.status().cluster.problems).toEqual(['hidden without a token']);
  expect(model.peers()[0]).toMatchObject({ endpoint: '198.51.100.2:4790', outbound: { bytes: 500 } });
});
