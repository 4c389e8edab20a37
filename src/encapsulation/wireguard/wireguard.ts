/** WireGuard as the packet path sees it: sealed, known by what opens, all from one port. */
import type { Encapsulation, Encloser, Opener } from '../../datapath/encapsulation.ts';
import type { OutboundArena } from '../../datapath/outbound-arena.ts';
import type { Arena } from '../../sys/arena.ts';
import { type EncloserParts, WireguardEncloser } from './encloser.ts';
import { WIREGUARD_FORM } from './form.ts';
import { WireguardOpener } from './opener.ts';
import type { Session } from './session.ts';

export class Wireguard implements Encapsulation {
  readonly form = WIREGUARD_FORM;
  readonly #parts: EncloserParts;
  readonly #refresh: () => void;
  /** One of each, as one thread has. */
  readonly #holders: { end(session: Session): void }[] = [];

  /** `refresh`: see Encapsulation. */
  constructor(parts: Omit<EncloserParts, 'form'>, refresh: () => void = () => {}) {
    this.#parts = { ...parts, form: WIREGUARD_FORM };
    this.#refresh = refresh;
  }

  encloser(arena: OutboundArena): Encloser {
    const encloser = new WireguardEncloser(arena, this.#parts);
    this.#holders.push(encloser);
    return encloser;
  }

  opener(memory: Arena): Opener {
    this.#parts.sessions.receivesInto(memory);
    const opener = new WireguardOpener(memory, this.#parts.engine, this.#parts.sessions);
    this.#holders.push(opener);
    return opener;
  }

  refresh(): void {
    this.#refresh();
  }

  /** A session is over: nobody asks for it any more, and its keys go. */
  end(session: Session): void {
    for (const holder of this.#holders) holder.end(session);
  }
}
