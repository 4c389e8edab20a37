/** WireGuard for one packet path thread, with the sessions that it shares with the others. */
import type { VtepTable } from '../../datapath/vtep-table.ts';
import { chooseAead } from './choose-aead.ts';
import type { SendNotice } from './notices.ts';
import { SharedPathSessions } from './shared-path-sessions.ts';
import { SharedSessions } from './shared-sessions.ts';
import { Wireguard } from './wireguard.ts';

export interface WireguardAccess {
  readonly shared: SharedArrayBuffer;
  readonly nowMs: () => number;
  readonly sendNotice: SendNotice;
}

export function wireguardPath(
  { shared, nowMs, sendNotice }: WireguardAccess,
  vteps: VtepTable,
  underlayFamily: 4 | 6,
): Wireguard {
  const sessions = new SharedPathSessions({
    shared: new SharedSessions(shared),
    ...{ vteps, underlayFamily, nowMs, sendNotice },
  });
  const wireguard = new Wireguard({ engine: chooseAead().engine, sessions, vteps }, () => sessions.refresh());
  sessions.onEnd = (session) => wireguard.end(session);
  return wireguard;
}
