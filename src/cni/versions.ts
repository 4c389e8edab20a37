/** The versions of the CNI specification that the plugin speaks, oldest first, and what came with which. */
import { CNI_ERROR, CniError } from './errors.ts';

export const VERSIONS = ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] as const;
export type CniVersion = (typeof VERSIONS)[number];

export const NEWEST: CniVersion = '1.1.0';

/** The first version that has a command; those that are not here are in all. */
const SINCE: Readonly<Record<string, CniVersion>> = { CHECK: '0.4.0', STATUS: '1.1.0', GC: '1.1.0' };

export function isSupported(version: unknown): version is CniVersion {
  return VERSIONS.some((one) => one === version);
}

export function isAtLeast(version: CniVersion, other: CniVersion): boolean {
  return VERSIONS.indexOf(version) >= VERSIONS.indexOf(other);
}

/** Throws 1 for a version that is not spoken here, or that does not have `command`. */
export function checkVersion(version: unknown, command: string): CniVersion {
  if (!isSupported(version)) {
    const text = version === undefined ? 'no cniVersion' : `cniVersion ${JSON.stringify(version)}`;
    throw new CniError(
      CNI_ERROR.incompatibleVersion,
      `incompatible CNI version: the network configuration has ${text}`,
      `warren-cni speaks ${VERSIONS.join(', ')}`,
    );
  }
  const since = SINCE[command];
  if (since !== undefined && !isAtLeast(version, since)) {
    throw new CniError(
      CNI_ERROR.incompatibleVersion,
      `incompatible CNI version: ${command} came with ${since}, and the network configuration has cniVersion ${version}`,
    );
  }
  return version;
}
