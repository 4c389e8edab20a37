/** What membership and leases keep on disk comes back as it was. */
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { fileLeaseStore, type StoredLease } from '../../../src/lease/lease-store.ts';
import { MAX_MEMBERS } from '../../../src/membership/member-table.ts';
import { MAX_RECORD_BYTES } from '../../../src/membership/record.ts';
import { fileMembershipStore, type StoredMembership } from '../../../src/membership/store.ts';
import { golden } from './golden.ts';

const NODE = golden.record.id;

describe('the stores', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'warren-stores-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const membership: StoredMembership = {
    written: { bootId: 'c5f0', uptimeMs: 1000, at: 1_767_225_600_000 },
    incarnation: 7,
    generation: 1,
    members: [parseEndpoint('192.0.2.7:7946'), parseEndpoint('[fd00::7]:7946')],
    tombstones: [{ id: golden.record.id, generation: 3, at: 1_767_225_600_000 }],
    lessees: [
      { signed: golden.signed, goneAt: undefined },
      { signed: golden.signed, goneAt: 1_767_225_600_000 },
    ],
  };

  it('give back members, tombstones and the records of those with leases', () => {
    const store = fileMembershipStore(folder, NODE);
    expect(store.load()).toBeUndefined();
    store.save(() => membership);
    expect(store.load()).toEqual(membership);
  });

  it('hold the records of the largest cluster', () => {
    const store = fileMembershipStore(folder, NODE);
    const signed = { bytes: new Uint8Array(MAX_RECORD_BYTES), signature: new Uint8Array(64) };
    const lessees = Array.from({ length: MAX_MEMBERS }, () => ({ signed, goneAt: 1_767_225_600_000 }));
    store.save(() => ({ ...membership, lessees }));
    expect(store.load()!.lessees).toHaveLength(MAX_MEMBERS);
  });

  it("take no other node's state for their own, nor one file for another", () => {
    fileLeaseStore(folder, 'f'.repeat(32)).save({ state: 'active', prefixes: [], reclaims: 0 });
    expect(() => fileLeaseStore(folder, NODE).load()).toThrow(
      /lease\.json is not this node's lease: node f+ wrote it/,
    );
    renameSync(join(folder, 'lease.json'), join(folder, 'membership.json'));
    expect(() => fileMembershipStore(folder, 'f'.repeat(32)).load()).toThrow(
      /it is a file lease\.json that was renamed/,
    );
  });

  it('give back the lease, until it is cleared', () => {
    const store = fileLeaseStore(folder, NODE);
    const lease: StoredLease = {
      state: 'active',
      prefixes: [parsePrefix('10.42.7.0/24'), parsePrefix('fd42:0:0:7::/64')],
      reclaims: 2,
    };
    store.save(lease);
    expect(store.load()).toEqual(lease);
    store.clear();
    store.clear();
    expect(store.load()).toBeUndefined();
  });
});
