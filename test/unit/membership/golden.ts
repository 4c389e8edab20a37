/** One value of everything that goes over the wire, for golden bytes and round trips. */

import { identityFromSeed } from '../../../src/identity.ts';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { signRecord } from '../../../src/membership/record.ts';

/** The key pair of RFC 8032 section 7.1, test 1. */
export const goldenIdentity = identityFromSeed(
  Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex'),
);

export const golden = signRecord(goldenIdentity, {
  incarnation: 7,
  name: 'node-a',
  gossip: parseEndpoint('192.0.2.1:7946'),
  vtep: parseEndpoint('[2001:db8::1]:4790'),
  encapsulation: { type: 'vxlan-gpe', vni: 42, partialChecksums: true },
  lease: {
    state: 'active',
    prefixes: [parsePrefix('10.42.7.0/24'), parsePrefix('fd42:0:0:7::/64')],
    sinceSeconds: 1_767_225_600,
    reclaims: 0,
    inUse: true,
  },
  left: false,
  mtu: undefined,
  inventory: undefined,
  session: '0102030405060708',
  generation: 3,
});
