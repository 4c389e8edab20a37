/** VXLAN-GPE (wire/vxlan-gpe.ts): clear text, known by the outer source address. */
import type { Encapsulation, EncapsulationForm, Encloser, Opener } from '../../datapath/encapsulation.ts';
import type { OutboundArena } from '../../datapath/outbound-arena.ts';
import type { VtepTable } from '../../datapath/vtep-table.ts';
import type { Arena } from '../../sys/arena.ts';
import { VXLAN_GPE_BYTES } from '../../wire/vxlan-gpe.ts';
import { VxlanGpeEncloser } from './encloser.ts';
import { VxlanGpeOpener } from './opener.ts';

export const VXLAN_GPE_FORM: EncapsulationForm = {
  headerBytes: VXLAN_GPE_BYTES,
  addedBytes: VXLAN_GPE_BYTES,
  sendsFromOnePort: false,
  hasHandshakes: false,
};

export interface VxlanGpeParts {
  readonly vni: number;
  readonly vteps: VtepTable;
  readonly underlayFamily: 4 | 6;
}

export class VxlanGpe implements Encapsulation {
  readonly form = VXLAN_GPE_FORM;
  readonly #parts: VxlanGpeParts;

  constructor(parts: VxlanGpeParts) {
    this.#parts = parts;
  }

  encloser(arena: OutboundArena): Encloser {
    return new VxlanGpeEncloser(arena, this.#parts.vni, this.form);
  }

  opener(memory: Arena): Opener {
    return new VxlanGpeOpener(memory.view, this.#parts);
  }

  /** All that it knows is in the table of VTEPs. */
  refresh(): void {}
}
