/** The other side answered, and does not talk to us. */
import type { FrameRefusal, RefusalCode } from './seal.ts';

export class PeerRefusedError extends Error {
  readonly code: RefusalCode;
  /** Of the node that refused, where the code is `session`. */
  readonly session: string;
  constructor(code: RefusalCode, session: string) {
    super(REFUSAL_TEXT[code]);
    this.code = code;
    this.session = session;
  }
}

const REFUSAL_TEXT: Record<RefusalCode, string> = {
  key: 'refused us: its cluster key or cluster name differs from ours',
  clear: 'refused us: it has a cluster key, and this node has none (cluster.keyFile)',
  sealed: 'refused us: it has no cluster key, and this node has one (cluster.keyFile)',
  cluster: 'refused us: it belongs to a cluster of another name (cluster.name)',
  version: 'refused us: it speaks another version of the gossip protocol',
  busy: 'refused us: it serves too many streams at the moment',
  invalid: 'refused us: it could not read what this node sent',
  session: 'refused us: it restarted at this very moment',
  replayed: 'refused us: it has seen this call before, or too many later ones',
};

/** What a frame that could not be opened is answered with. */
export function refusalCode(reason: FrameRefusal): RefusalCode {
  switch (reason) {
    case 'key':
    case 'clear':
    case 'sealed':
    case 'cluster':
    case 'version':
      return reason;
    default:
      return 'invalid';
  }
}
