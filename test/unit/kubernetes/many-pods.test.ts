/** A cluster of many pods: what is left of them in memory, and that their heartbeats change nothing. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { ObjectsView } from '../../../src/kubernetes/objects-view.ts';
import { PODS } from '../../../src/kubernetes/policy-objects.ts';
import { PAGE_OBJECTS } from '../../../src/kubernetes/resource-watch.ts';

const COUNT = 20_000;

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

/** As the API server writes one, with what nobody here asks for; ten to a ReplicaSet. */
function podText(i: number): string {
  const set = Math.floor(i / 10);
  const hash = (set * 7919).toString(16).padStart(10, 'a');
  const ip = `10.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
  return JSON.stringify({
    metadata: {
      name: `service-${set % 50}-${hash}-${i.toString(36).padStart(5, 'x')}`,
      namespace: `team-${set % 100}`,
      uid: `00000000-0000-0000-0000-${String(i).padStart(12, '0')}`,
      resourceVersion: String(i),
      labels: { app: `service-${set % 50}`, 'app.kubernetes.io/version': '1.2.3', 'pod-template-hash': hash },
      managedFields: Array.from({ length: 4 }, () => ({ manager: 'kubelet', fields: 'f:status'.repeat(60) })),
    },
    spec: {
      containers: [
        { name: 'main', ports: [{ name: 'http', containerPort: 8080 }], env: 'x'.repeat(1000) },
        { name: 'proxy', ports: [{ name: 'metrics', containerPort: 9090 }] },
      ],
    },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }, { ip: `fd42::${i.toString(16)}` }] },
  });
}

it('each takes less than 768 bytes', () => {
  const view = new ObjectsView(PODS);
  const before = heapBytes();
  for (let at = 0; at < COUNT; at += PAGE_OBJECTS) {
    const objects = Array.from({ length: PAGE_OBJECTS }, (_, i) => JSON.parse(podText(at + i)) as unknown);
    view.apply({ type: 'page', objects });
  }
  view.apply({ type: 'listed' });
  expect(view.size).toBe(COUNT);
  const perPod = (heapBytes() - before) / COUNT;
  expect(perPod).toBeLessThan(768);
  expect(view.apply({ type: 'changed', object: JSON.parse(podText(7)) })).toBe(false);
});
