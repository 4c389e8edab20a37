/** Who gets into a cluster, and that everybody in it has a subnet of its own. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode, NodeView } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { generateClusterKey } from '../../src/link/key-ring.ts';
import { failedPings, overlayEndpoints } from '../helpers/overlay-endpoints.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const LAB = 'join';
/** Longer than a node waits for an answer of its seeds before it goes on alone (src/membership/timing.ts). */
const SHUT_OUT_SECONDS = 7;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'joining', () => {
  let lab: Lab | undefined;
  afterEach(async () => {
    await lab?.down();
  });

  test('as many nodes at once as there are subnets: each has one, and never another one before', async () => {
    const nodes = 8;
    lab = await Lab.up({
      name: LAB,
      nodes,
      pods: 1,
      start: false,
      config: () => ({
        cluster: { podCidrs: ['10.42.0.0/27', 'fd42::/123'], nodePrefixLengths: [30, 126] },
      }),
    });
    for (const node of lab.nodes) node.start();
    let isReady = false;
    const [leases] = await Promise.all([
      Promise.all(lab.nodes.map((node) => activeLeases(node, () => isReady))),
      lab.ready().finally(() => {
        isReady = true;
      }),
    ]);
    const ipv4 = Array.from({ length: nodes }, (_, i) => `10.42.0.${4 * i}/30`);
    const ipv6 = Array.from({ length: nodes }, (_, i) => `fd42::${i === 0 ? '' : (4 * i).toString(16)}/126`);
    // One lease each, of both families; all of them together are all there is.
    expect(leases.map((lease) => lease.size)).toEqual(lab.nodes.map(() => 1));
    expect(leases.flatMap((lease) => [...lease].flatMap((subnets) => subnets.split(' '))).sort()).toEqual(
      [...ipv4, ...ipv6].sort(),
    );
    const endpoints = await overlayEndpoints(lab);
    expect((await failedPings(endpoints.slice(0, 2), endpoints)).failed).toEqual([]);
  });

  test('a node with another key, without one, or of another cluster stays outside and says why', async () => {
    lab = await Lab.up({
      name: LAB,
      nodes: 5,
      pods: 1,
      start: false,
      config: ({ name, folder }) => {
        if (name === `${LAB}-c`) return { cluster: { keyFile: join(folder, 'other.key') } };
        if (name === `${LAB}-d`) return { cluster: { keyFile: undefined } };
        return name === `${LAB}-e` ? { cluster: { name: 'elsewhere' } } : {};
      },
    });
    const members = [lab.node('join-a'), lab.node('join-b')];
    const strangers = [
      { node: lab.node('join-c'), why: 'refused us: its cluster key or cluster name differs from ours' },
      {
        node: lab.node('join-d'),
        why: 'refused us: it has a cluster key, and this node has none (cluster.keyFile)',
      },
      { node: lab.node('join-e'), why: 'refused us: its cluster key or cluster name differs from ours' },
    ];
    writeFileSync(join(lab.node('join-c').folder, 'other.key'), `${generateClusterKey()}\n`, { mode: 0o600 });
    for (const node of members) node.start();
    await lab.ready();
    for (const { node } of strangers) node.start();

    for (const { node, why } of strangers) {
      const { status, peers, routes, pods } = await node.waitFor(
        `it has been shut out for ${SHUT_OUT_SECONDS} s`,
        ({ status }) =>
          status.node.uptimeSeconds >= SHUT_OUT_SECONDS &&
          members.every(({ underlayAddress }) =>
            status.cluster.problems.includes(`seed ${underlayAddress}:7946 ${why}`),
          ),
      );
      for (const { underlayAddress } of members) {
        await expect.poll(() => node.log()).toContain(`seed ${underlayAddress}:7946 ${why}`);
      }
      // It does not act as a cluster of its own either: others' subnets are not its to take.
      expect(status.lease).toEqual({ status: 'joining', subnets: [] });
      expect({ peers, routes, pods }).toEqual({ peers: [], routes: [], pods: [] });
      const check = await node.exec([process.execPath, WARREN_PROGRAM, 'check', '-s', node.socket]);
      expect(check).toMatchObject({ code: 1, stdout: expect.stringContaining('its lease is joining') });
    }
    for (const [i, node] of members.entries()) {
      // On a busy machine the other one may just have been missed.
      const { status, peers, routes } = await node.waitFor(
        'the other member is alive, and strangers were refused',
        ({ status: { cluster, gossip } }) =>
          cluster.members.alive === 2 && gossip.refusedKey! > 0 && gossip.refusedClear! > 0,
      );
      expect(status.cluster.members).toEqual({ alive: 2, suspect: 0, dead: 0, left: 0 });
      expect(peers.map(({ name }) => name)).toEqual([members[1 - i]!.name]);
      expect(routes.map(({ via }) => via).sort()).toEqual(
        ['local', 'local', members[1 - i]!.name, members[1 - i]!.name].sort(),
      );
      expect(node.log()).not.toMatch(/join-[cde]/);
    }
  });
});

/** Every lease that the node shows as active, as text, from now until `isDone`. */
async function activeLeases(node: LabNode, isDone: () => boolean): Promise<Set<string>> {
  const seen = new Set<string>();
  const look = ({ status }: NodeView): boolean => {
    if (status.lease.status === 'active') seen.add(status.lease.subnets.join(' '));
    return isDone();
  };
  await node.waitFor('all nodes are ready', look, { timeoutMs: 90_000 });
  return seen;
}
