/** Whose documents are others than this node's, when they were sent there a moment ago. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { silentLogger } from '../../../src/log/logger.ts';
import { type OtherNode, PolicyService } from '../../../src/policy/policy-service.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { MemoryPolicyRules } from '../../helpers/memory-policy-rules.ts';

const POLICY = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'db' },
  spec: {},
};

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'warren-policy-service-'));
});
afterEach(() => rmSync(stateDir, { recursive: true }));

it('a node that has taken them is no other, though its record does not say so yet', async () => {
  const clock = new VirtualClock();
  let others: readonly OtherNode[] = ['b', 'c'].map((name) => ({ id: name, name }));
  const service = new PolicyService({
    ...{ stateDir, nodeId: 'a', tunName: 'warren0', podRanges: [], rules: new MemoryPolicyRules() },
    attached: { local: () => [], others: () => [], onChange: () => () => {} },
    rpc: {
      call: async (id) => {
        if (id === 'c') throw new Error('no answer');
        return [];
      },
    },
    ...{ others: () => others, nodeOf: () => undefined, admits: () => true, announce: () => {} },
    ...{ clock, log: silentLogger, onChange: () => {} },
  });
  await service.start();
  expect((await service.change({ apply: [POLICY] })).differing).toEqual(['b', 'c']);
  expect(await service.change({ all: true })).toMatchObject({ sent: ['b'], unreachable: [{ node: 'c' }] });
  expect(service.differing()).toEqual(['c']);
  others = [{ id: 'b', name: 'b', policyHash: 'of somebody else' }];
  expect(service.differing()).toEqual(['b']);
  others = [{ id: 'b', name: 'b' }];
  await service.change({ apply: [{ ...POLICY, metadata: { name: 'web' } }] });
  expect(service.differing()).toEqual(['b']);
  await service.stop();
});
