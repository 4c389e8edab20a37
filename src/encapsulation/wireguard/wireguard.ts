/** WireGuard as the packet path sees it: sealed, known by what opens, all from one port. */
import type { Encapsulation, EncapsulationForm, Encloser, Opener } from '../../datapath/encapsulation.ts';
import type { OutboundArena } from '../../datapath/outbound-arena.ts';
import type { Arena } from '../../sys/arena.ts';
import { type EncloserParts, WireguardEncloser } from './encloser.ts';
import { DATA_HEADER_BYTES, MIN_DATA_BYTES } from './messages.ts';
import { WireguardOpener } from './opener.ts';
import type { Session } from './session.ts';

const WIREGUARD_FORM: EncapsulationForm = {
  headerBytes: DATA_HEADER_BYTES,
  addedBytes: MIN_DATA_BYTES,
  sendsFromOnePort: true,
};

export class Wireguard implements Encapsulation {
  readonly form = WIREGUARD_FORM;
  readonly #parts: EncloserParts;
  /** One of each, as one thread has. */
  readonly #holders: { end(session: Session): void }[] = [];

  constructor(parts: Omit<EncloserParts, 'form'>) {
    this.#parts = { ...parts, form: WIREGUARD_FORM };
  }

  encloser(arena: OutboundArena): Encloser {
    const encloser = new WireguardEncloser(arena, this.#parts);
    this.#holders.push(encloser);
    return encloser;
  }

  opener(memory: Arena): Opener {
    const opener = new WireguardOpener(memory, this.#parts.engine, this.#parts.sessions);
    this.#holders.push(opener);
    return opener;
  }

  /** A session is over: nobody asks for it any more, and its keys go. */
  end(session: Session): void {
    for (const holder of this.#holders) holder.end(session);
  }
}
