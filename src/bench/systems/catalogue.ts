/** Every system that the benchmark knows, in the order of its tables. */
import type { System } from '../system.ts';
import { bareVeth, kernelVxlan } from './baselines.ts';
import { nebula } from './nebula.ts';
import { roofline } from './roofline.ts';
import { sealedRoofline } from './sealed-roofline.ts';
import { tincVariants } from './tinc.ts';
import { warrenModes } from './warren.ts';
import { wireguardGo } from './wireguard-go.ts';

export const SYSTEMS: readonly System[] = [
  bareVeth,
  kernelVxlan,
  roofline,
  sealedRoofline,
  ...warrenModes,
  wireguardGo,
  nebula,
  ...tincVariants,
];

/** The systems called `ids`, in the catalogue's order; undefined if one of them does not exist. */
export function selectSystems(ids: readonly string[]): System[] | undefined {
  if (ids.some((id) => SYSTEMS.every((system) => system.id !== id))) return undefined;
  return SYSTEMS.filter((system) => ids.includes(system.id));
}
