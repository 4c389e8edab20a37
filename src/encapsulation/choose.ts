/** Which encapsulation an agent has, by the name that its configuration gives. One place knows all of them. */
import type { Encapsulation, EncapsulationForm } from '../datapath/encapsulation.ts';
import type { VtepTable } from '../datapath/vtep-table.ts';
import { VXLAN_GPE_FORM, VxlanGpe } from './vxlan-gpe/vxlan-gpe.ts';
import { WIREGUARD_FORM } from './wireguard/form.ts';
import type { SendNotice } from './wireguard/notices.ts';

export const ENCAPSULATION_TYPES = ['wireguard', 'vxlan-gpe'] as const;
export type EncapsulationType = (typeof ENCAPSULATION_TYPES)[number];

/** What a packet path thread is told; it can be copied to one. */
export interface EncapsulationSettings {
  readonly type: EncapsulationType;
  /** Of wireguard: nodes without keys are sent clear text, and it is taken from them. */
  readonly accept?: 'vxlan-gpe' | undefined;
  /** Of vxlan-gpe. */
  readonly vni: number;
}

/** What an encapsulation that has sessions needs on top of that. */
export interface SessionAccess {
  /** See SharedSessions. */
  readonly shared: SharedArrayBuffer;
  readonly nowMs: () => number;
  readonly sendNotice: SendNotice;
}

const FORMS: Readonly<Record<EncapsulationType, EncapsulationForm>> = {
  wireguard: WIREGUARD_FORM,
  'vxlan-gpe': VXLAN_GPE_FORM,
};

export function formOf({ type }: Pick<EncapsulationSettings, 'type'>): EncapsulationForm {
  return FORMS[type];
}

/** `sessions` is there for those that have some. */
export async function chooseEncapsulation(
  { type, accept, vni }: EncapsulationSettings,
  vteps: VtepTable,
  underlayFamily: 4 | 6,
  sessions: SessionAccess | undefined,
): Promise<Encapsulation> {
  if (type === 'vxlan-gpe') return new VxlanGpe({ vni, vteps, underlayFamily });
  // Its ciphers are not for those to load who do not use them.
  const { wireguardPath } = await import('./wireguard/wireguard-path.ts');
  const wireguard = wireguardPath(sessions!, vteps, underlayFamily);
  if (accept === undefined) return wireguard;
  const { Moving } = await import('./moving/moving.ts');
  return new Moving(wireguard, new VxlanGpe({ vni, vteps, underlayFamily }), { vni, vteps });
}
