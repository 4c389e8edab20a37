/** The limit of a record holds whatever a node says of itself; its inventory is pulled and not told. */
import { expect, it } from 'vitest';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import {
  decodeRecord,
  INVENTORY_HASH_BYTES,
  MAX_GENERATION,
  MAX_INCARNATION,
  MAX_PREFIXES,
  MAX_RECORD_BYTES,
  POLICY_HASH_BYTES,
  signRecord,
} from '../../../src/membership/record.ts';
import { goldenIdentity } from './golden.ts';

it('the largest record fits its limit', () => {
  const prefixes = Array.from({ length: MAX_PREFIXES }, (_, i) =>
    parsePrefix(`2001:db8:ffff:ffff:ffff:ffff:ffff:ff${10 + i}/128`),
  );
  const { record, signed } = signRecord(goldenIdentity, {
    incarnation: MAX_INCARNATION,
    name: 'n'.repeat(63),
    gossip: parseEndpoint('[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535'),
    vtep: parseEndpoint('[2001:db8:ffff:ffff:ffff:ffff:ffff:fffe]:65535'),
    encapsulation: {
      ...{ type: 'vxlan-gpe', vni: 0xff_ffff, partialChecksums: true },
      tunnelKey: new Uint8Array(32).fill(0xff),
    },
    lease: {
      ...{ state: 'active', prefixes, sinceSeconds: 0xffff_ffff, inUse: true, reclaims: 0xffff_ffff },
      isAssigned: true,
    },
    left: true,
    session: 'f'.repeat(16),
    generation: MAX_GENERATION,
    mtu: 65_535,
    inventory: { version: 0xffff_ffff, hash: 'f'.repeat(2 * INVENTORY_HASH_BYTES) },
    postQuantum: { keyHash: new Uint8Array(32).fill(0xff) },
    policyHash: 'f'.repeat(2 * POLICY_HASH_BYTES),
  });
  expect(decodeRecord(signed.bytes)).toEqual({ ok: true, value: record });
  expect(signed.bytes.length).toBeGreaterThan(MAX_RECORD_BYTES - 64);
  expect(signed.bytes.length).toBeLessThanOrEqual(MAX_RECORD_BYTES);
});
