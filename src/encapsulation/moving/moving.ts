/**
 * On the way from clear text to sealed, node by node (`encapsulation: {type: wireguard, accept: vxlan-gpe}`): with peers that
 * have keys it is WireGuard and nothing else, with those that have none VXLAN-GPE, both on one port. The first byte tells
 * them apart, which is a type from 1 to 4 or a set of flags from 8 on. It is not made to be fast.
 */
import type { Encapsulation, Encloser, Opener } from '../../datapath/encapsulation.ts';
import type { OutboundArena } from '../../datapath/outbound-arena.ts';
import type { VtepTable } from '../../datapath/vtep-table.ts';
import type { Arena } from '../../sys/arena.ts';
import { MovingEncloser } from './encloser.ts';
import { MovingOpener } from './opener.ts';

export interface MovingParts {
  readonly vni: number;
  readonly vteps: VtepTable;
}

export class Moving implements Encapsulation {
  readonly form;
  readonly #sealed: Encapsulation;
  readonly #clear: Encapsulation;
  readonly #parts: MovingParts;

  constructor(sealed: Encapsulation, clear: Encapsulation, parts: MovingParts) {
    this.form = sealed.form;
    this.#sealed = sealed;
    this.#clear = clear;
    this.#parts = parts;
  }

  encloser(arena: OutboundArena): Encloser {
    return new MovingEncloser(arena, this.#sealed.encloser(arena), this.#parts);
  }

  opener(memory: Arena): Opener {
    const { vteps } = this.#parts;
    return new MovingOpener(memory, this.#sealed.opener(memory), this.#clear.opener(memory), vteps);
  }

  refresh(): void {
    this.#sealed.refresh();
  }
}
