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

it('shows whether this node wants post-quantum keys', () => {
  expect(renderStatus(fakeStatus, plain)).not.toContain('post-quantum');
  const postQuantum = { mode: 'require', keys: {} } as const;
  const encapsulation = { ...fakeStatus.encapsulation, type: 'wireguard', postQuantum };
  expect(renderStatus({ ...fakeStatus, encapsulation }, plain)).toContain('post-quantum require');
});
