/** What is told of other systems before and beside their figures. */
import { expect, test } from 'vitest';
import { hasOffloads } from '../../../src/bench/systems/wireguard-go.ts';

test('wireguard-go of Debian 12 segments nothing, that of its backports does', () => {
  expect(hasOffloads('wireguard-go v0.0.20220316 (Debian 0.0.20220316-1+b4)')).toBe(false);
  expect(hasOffloads('wireguard-go v0.0.20231211 (Debian 0.0.20231211-1~bpo12+1)')).toBe(true);
  expect(hasOffloads('wireguard-go, built by hand')).toBe(true);
});
