/** Which encapsulation an agent has, by the name that its configuration gives. One place knows all of them. */
import type { Encapsulation, EncapsulationForm } from '../datapath/encapsulation.ts';
import type { VtepTable } from '../datapath/vtep-table.ts';
import { VXLAN_GPE_FORM, VxlanGpe } from './vxlan-gpe/vxlan-gpe.ts';

/** What a packet path thread is told; it can be copied to one. */
export interface EncapsulationSettings {
  readonly type: 'vxlan-gpe';
  readonly vni: number;
}

const FORMS: Readonly<Record<EncapsulationSettings['type'], EncapsulationForm>> = {
  'vxlan-gpe': VXLAN_GPE_FORM,
};

export function formOf({ type }: EncapsulationSettings): EncapsulationForm {
  return FORMS[type];
}

export function chooseEncapsulation(
  { vni }: EncapsulationSettings,
  vteps: VtepTable,
  underlayFamily: 4 | 6,
): Encapsulation {
  return new VxlanGpe({ vni, vteps, underlayFamily });
}
