/** What reports show only where there is something to show. */
import { expect, it } from 'vitest';
import { renderPeers, renderStatus } from '../../../src/cli/reports.ts';
import { fakePeers, fakeStatus } from '../../helpers/fake-agent.ts';

const plain = (text: string) => text;

it('shows post-quantum keys by peer, where this node wants some', () => {
  const [agent, legacy] = fakePeers as [(typeof fakePeers)[number], (typeof fakePeers)[number]];
  expect(renderPeers([agent, legacy], plain)).not.toContain('POST-QUANTUM');
  for (const postQuantum of ['agreed', 'offered', 'failed', 'none'] as const) {
    const [, first, second] = renderPeers([{ ...agent, postQuantum }, legacy], plain).split('\n');
    expect(first).toMatch(new RegExp(`^node-b +alive +${postQuantum} +198`));
    expect(second).toMatch(/^leg"acy +static +- +198/);
  }
});

it('shows the Kubernetes cluster that the node is in, where it is in one', () => {
  expect(renderStatus(fakeStatus, plain)).not.toContain('kubernetes');
  const kubernetes = {
    server: 'https://10.96.0.1:443',
    ipam: 'kubernetes' as const,
    node: 'worker-1',
    podCidrs: ['10.244.1.0/24', 'fd42:0:0:1::/64'],
    api: 'connected' as const,
    awaySeconds: 0,
    nodes: 3,
  };
  expect(renderStatus({ ...fakeStatus, kubernetes }, plain)).toContain(
    'API connected (https://10.96.0.1:443), 3 nodes; Node worker-1, podCIDRs 10.244.1.0/24 fd42:0:0:1::/64, ipam kubernetes\n',
  );
  const away = { ...kubernetes, api: 'away' as const, awaySeconds: 90, podCidrs: [] };
  expect(renderStatus({ ...fakeStatus, kubernetes: away }, plain)).toContain(
    'API away for 1m 30s (https://10.96.0.1:443), 3 nodes; Node worker-1, ipam kubernetes\n',
  );
});

it('shows whether this node wants post-quantum keys', () => {
  expect(renderStatus(fakeStatus, plain)).not.toContain('post-quantum');
  const postQuantum = { mode: 'require', keys: {} } as const;
  const encapsulation = { ...fakeStatus.encapsulation, type: 'wireguard', postQuantum };
  expect(renderStatus({ ...fakeStatus, encapsulation }, plain)).toContain('post-quantum require');
});
