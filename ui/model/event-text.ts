/** What happened, in words. */
import type { EventReport } from '../../src/readmodel/reports.ts';

export type EventKind = EventReport['kind'];

export const EVENT_KINDS: readonly {
  readonly kind: EventKind;
  readonly label: string;
  readonly tone: 'good' | 'bad' | 'warn' | 'calm';
}[] = [
  { kind: 'joined', label: 'joined', tone: 'good' },
  { kind: 'recovered', label: 'recovered', tone: 'good' },
  { kind: 'suspect', label: 'suspect', tone: 'warn' },
  { kind: 'died', label: 'died', tone: 'bad' },
  { kind: 'left', label: 'left', tone: 'calm' },
  { kind: 'forgotten', label: 'forgotten', tone: 'calm' },
  { kind: 'moved', label: 'moved', tone: 'warn' },
  { kind: 'repaired', label: 'repaired', tone: 'warn' },
  { kind: 'rekeyed', label: 'rekeyed', tone: 'calm' },
  { kind: 'offload-off', label: 'offload off', tone: 'bad' },
  { kind: 'offload-on', label: 'offload on', tone: 'good' },
];

/** What follows the node's name. */
export function eventText({ kind, detail, others = 0 }: EventReport): string {
  switch (kind) {
    case 'joined':
      return 'joined the cluster';
    case 'suspect':
      return 'does not answer and is suspect';
    case 'died':
      return 'is dead';
    case 'recovered':
      return 'answers again';
    case 'left':
      return 'left the cluster';
    case 'forgotten':
      return 'was forgotten, and its subnets are free';
    case 'moved':
      return `moved to ${detail}`;
    case 'repaired':
      return `put back what was changed on the host: ${detail}`;
    case 'rekeyed':
      return others === 0 ? 'and this node have new keys' : `and ${others} more have new keys with this node`;
    case 'offload-off':
      return `uses the offload ${detail} no more`;
    case 'offload-on':
      return `uses the offload ${detail}`;
  }
}
