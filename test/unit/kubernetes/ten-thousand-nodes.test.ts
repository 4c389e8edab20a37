/** A cluster of 10,000 nodes: what it costs the API server, and what is left of it in memory. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import type { Answer, ApiRequest } from '../../../src/kubernetes/api.ts';
import { NodeWatch } from '../../../src/kubernetes/node-watch.ts';
import { NodesView } from '../../../src/kubernetes/nodes-view.ts';
import { PAGE_OBJECTS } from '../../../src/kubernetes/resource-watch.ts';
import { seededRandom } from '../../../src/membership/random.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { FakeApiServer } from '../../helpers/kubernetes-api.ts';

const NODES = 10_000;
const HOUR_MS = 3_600_000;
const MIB = 1024 * 1024;

/** Nodes as large as real ones, which have many images. */
class LargeNodes extends FakeApiServer {
  override answer(request: ApiRequest): Answer {
    const answer = super.answer(request);
    if (!('body' in answer)) return answer;
    const { metadata, items = [] } = answer.body as { metadata: object; items?: object[] };
    const images = Array.from({ length: 50 }, (_, i) => ({
      names: [`registry.example/image-${i}@sha256:${'0'.repeat(64)}`],
    }));
    const text = JSON.stringify({ metadata, items: items.map((item) => ({ ...item, images })) });
    return { status: 200, body: JSON.parse(text) };
  }
}

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed;
}

it('is one list in pages, and then watches; a Node of 6 kB takes less than 2 kB here', () => {
  const server = new LargeNodes();
  for (let i = 0; i < NODES; i++) {
    const [a, b] = [i >> 8, i & 255];
    server.put(`worker-${i}.example`, {
      addresses: [`10.${100 + a}.${b}.1`, `2001:db8::${i.toString(16)}`],
      podCidrs: [`10.${a}.${b}.0/24`, `fd42:0:0:${i.toString(16)}::/64`],
    });
  }
  const clock = new VirtualClock();
  const view = new NodesView();
  const before = heapBytes();
  const watch = new NodeWatch({
    ...{ api: server.api(clock), ownName: 'worker-7.example', clock, random: seededRandom(1) },
    nodeCount: () => view.size,
    onEvent: (event) => view.apply(event),
    onContact: () => {},
    onTrouble: () => {},
  });
  watch.start();
  clock.advance(1000);
  expect(view.size).toBe(NODES);
  expect(server.counts).toMatchObject({ lists: 1, pages: NODES / PAGE_OBJECTS, watches: 1, gets: 1 });
  const perNode = (heapBytes() - before) / NODES;
  expect(perNode).toBeLessThan(2048);
  // Each node's heartbeat, every five minutes, changes nothing here; the watch is begun anew each few minutes.
  for (let minute = 0; minute < 60; minute++) {
    for (let i = minute * 20; i < minute * 20 + 20; i++) server.put(`worker-${i}.example`);
    server.bookmark();
    clock.advance(HOUR_MS / 60);
    if (minute % 7 === 0) server.endWatches();
  }
  expect(server.counts).toMatchObject({ lists: 1, pages: NODES / PAGE_OBJECTS, gets: 1 });
  expect(server.counts.watches).toBeLessThan(12);
  expect((heapBytes() - before) / MIB).toBeLessThan(20 + 10);
  watch.stop();
});
