/** Today's agent takes up the state folder that one of an earlier release left, with all that is in it. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fileAttachmentStore } from '../../../src/attachment/attachment-store.ts';
import { loadIdentity, verifySignature } from '../../../src/identity.ts';
import { formatAddress } from '../../../src/ip/address.ts';
import { formatEndpoint } from '../../../src/ip/endpoint.ts';
import { formatPrefix } from '../../../src/ip/prefix.ts';
import { fileLeaseStore } from '../../../src/lease/lease-store.ts';
import { ClusterKeys, fileKeyChanges } from '../../../src/link/cluster-keys.ts';
import { parseKeyRing } from '../../../src/link/key-ring.ts';
import { fingerprintOf } from '../../../src/link/key-ring-state.ts';
import { decodeRecord, verifyRecord } from '../../../src/membership/record.ts';
import { fileMembershipStore } from '../../../src/membership/store.ts';
import { goldenRelease } from '../../helpers/golden-release.ts';

const { copyState, reports, clusterKeys } = goldenRelease('0.1.0');
const nodeId = reports.status.node.id;
/** `member` of the cluster whose state this is. */
const peer = (name: string) => reports.peers.find((one) => one.name === name)!;
/** The node that had been forgotten when the files were taken: the fourth of the four. */
const FORGOTTEN = 'golden-d';

let state: ReturnType<typeof copyState>;
beforeEach(() => {
  state = copyState();
});
afterEach(() => state.remove());

/** pods.json, whoever reads it now. */
function storedPods(stateDir: string) {
  const { attachments, last } = fileAttachmentStore(stateDir, nodeId).read();
  return {
    pods: attachments.map(({ addresses, netnsIdentity, ...pod }) => ({
      ...pod,
      external: netnsIdentity,
      addresses: addresses.map(formatAddress),
    })),
    last: last.map(formatAddress),
  };
}

it('identity.json: the same node, with its key', () => {
  const identity = loadIdentity(state.stateDir)!;
  expect(identity.id).toBe(nodeId);
  const message = Buffer.from('anything');
  expect(verifySignature(identity.publicKey, message, identity.sign(message))).toBe(true);
});

it('lease.json: the subnets it had', () => {
  const lease = fileLeaseStore(state.stateDir, nodeId).load()!;
  expect(lease).toMatchObject({ state: 'active', reclaims: 0 });
  expect(lease.prefixes.map(formatPrefix)).toEqual(reports.status.lease.subnets);
  expect(lease.prefixes).toHaveLength(2);
});

it('pods.json: pods of its own, of another namespace, and static ones', () => {
  const { pods, last } = storedPods(state.stateDir);
  expect(
    pods.map(({ name, netns, addresses, static: isStatic }) => [name, netns, addresses, isStatic]),
  ).toEqual(reports.pods.map((pod) => [pod.name, pod.netns, pod.addresses, pod.static]));
  expect(pods.map((pod) => [pod.name, pod.static, pod.external !== undefined])).toEqual([
    ['web', true, false],
    ['db', false, false],
    ['box', false, true],
  ]);
  // Boot id, device and inode of the namespace (src/host/netns.ts).
  expect(pods[2]!.external).toMatch(/^[0-9a-f-]{36}\/\d+:\d+$/);
  expect(last).toEqual(pods[2]!.addresses);
});

it('membership.json: who else was there, who was forgotten, who has which subnet', () => {
  const membership = fileMembershipStore(state.stateDir, nodeId).load()!;
  expect(membership.generation).toBe(0);
  expect(membership.incarnation).toBeGreaterThan(1);
  expect(membership.members.map(formatEndpoint).sort()).toEqual(['192.0.2.2:7946', '192.0.2.3:7946']);

  expect(membership.tombstones).toEqual([
    { id: expect.stringMatching(/^[0-9a-f]{32}$/), generation: 0, at: expect.any(Number) },
  ]);
  expect(reports.peers.map(({ name }) => name)).not.toContain(FORGOTTEN);
  expect([nodeId, ...reports.peers.map(({ id }) => id)]).not.toContain(membership.tombstones[0]!.id);

  const lessees = membership.lessees.map(({ signed, goneAt }) => {
    const decoded = decodeRecord(signed.bytes);
    if (!decoded.ok) throw new Error(`the record of a lessee is ${decoded.reason}`);
    expect(verifyRecord(decoded.value, signed)).toBe(true);
    expect(goneAt).toBeUndefined();
    return decoded.value;
  });
  expect(lessees.map(({ name }) => name).sort()).toEqual(['golden-b', 'golden-c']);
  for (const { id, name, vtep, lease, mtu, inventory } of lessees) {
    expect(id).toBe(peer(name).id);
    expect(formatEndpoint(vtep)).toBe(peer(name).endpoint);
    expect(lease!.prefixes.map(formatPrefix)).toEqual(peer(name).subnets);
    expect({ mtu, inventory }).toEqual({ mtu: undefined, inventory: undefined });
  }
});

it('keys.json: the key that was added seals, the one that was removed opens nothing', () => {
  const stored = fileKeyChanges(state.stateDir);
  const [removed, added] = parseKeyRing(clusterKeys, 'the golden keys').keys.map(fingerprintOf);
  expect(stored.load()).toMatchObject({ primary: added, primaryVersion: 2 });
  expect(stored.load()!.keys.map(({ fingerprint, version, key }) => [fingerprint, version, !!key])).toEqual([
    [added, 2, true],
    [removed, 3, false],
  ]);
  // The key file still has the old one, as operators leave it.
  const file = parseKeyRing(clusterKeys.split('\n')[0]!, 'the golden key file');
  expect(new ClusterKeys(file, stored).fingerprints).toEqual([added]);
  expect(reports.keys.keys.map(({ fingerprint }) => fingerprint)).toEqual([added]);
});
