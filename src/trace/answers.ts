/** What of that which was seen says that the destination itself has had the packet. */
import type { Flow, Sighting } from './model.ts';

/** That a port is closed counts as its answer only from itself: firewalls say so too. */
export function answersIn(
  sightings: readonly Sighting[],
  { destination, protocol }: Flow,
): readonly Sighting[] {
  return sightings.filter(
    ({ what, error }) =>
      what === 'answer' || (protocol === 'udp' && error?.kind === 'no-port' && error.from === destination),
  );
}
