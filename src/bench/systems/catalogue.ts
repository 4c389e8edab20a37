/** Every system that the benchmark knows, in the order of its tables. */
import { WarrenError } from '../../errors.ts';
import type { System } from '../system.ts';
import { bareVeth, kernelVxlan } from './baselines.ts';
import { nebula } from './nebula.ts';
import { roofline } from './roofline.ts';
import { tincVariants } from './tinc.ts';
import { warrenModes } from './warren.ts';
import { wireguardGo } from './wireguard-go.ts';

export const SYSTEMS: readonly System[] = [
  bareVeth,
  kernelVxlan,
  roofline,
  ...warrenModes,
  wireguardGo,
  nebula,
  ...tincVariants,
];

/** The systems called `ids`, in the catalogue's order. Throws BENCH_SYSTEM_UNKNOWN. */
export function selectSystems(ids: readonly string[]): System[] {
  const unknown = ids.filter((id) => SYSTEMS.every((system) => system.id !== id));
  if (unknown.length > 0) {
    throw new WarrenError('BENCH_SYSTEM_UNKNOWN', `there is no system ${unknown.join(', ')}`, {
      hint: `There are: ${SYSTEMS.map((system) => system.id).join(', ')}.`,
    });
  }
  return SYSTEMS.filter((system) => ids.includes(system.id));
}
