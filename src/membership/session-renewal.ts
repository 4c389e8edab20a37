/** A node's sessions (link/sessions.ts) as the cluster sees them: renewed in time, and told of before anyone wonders. */
import type { TimerGroup } from '../clock.ts';
import type { RenewalCause, Sessions } from '../link/sessions.ts';
import type { Logger } from '../log/logger.ts';
import type { TwinAlarm } from './alarms.ts';
import type { DirectNews } from './direct-news.ts';
import type { Gossiper } from './gossip.ts';
import type { Roster } from './roster.ts';
import type { SelfRecord } from './self.ts';

export interface SessionRenewalOptions {
  readonly sessions: Sessions;
  readonly self: SelfRecord;
  readonly roster: Roster;
  readonly direct: DirectNews;
  readonly gossiper: Gossiper;
  readonly twin: TwinAlarm;
  readonly timers: TimerGroup;
  readonly logger: Logger;
  readonly isRunning: () => boolean;
}

/** A session is renewed about this often. */
export const SESSION_MS = 3_600_000;
/** After that this node's record goes along with all that it sends for a while, and to so many members at once. */
const INTRODUCED_MS = 10_000;
const INTRODUCED_DIRECTLY = 100;

export class SessionRenewal {
  readonly #options: SessionRenewalOptions;

  constructor(options: SessionRenewalOptions) {
    this.#options = options;
    // Not from within whatever sends just then.
    options.sessions.onRenewed = (cause) => {
      options.timers.after(0, () => this.#announce(cause));
    };
  }

  start(): void {
    const { timers, sessions, self } = this.#options;
    // Nodes that started together do not renew their sessions together.
    const share = Number.parseInt(self.id.slice(0, 4), 16) / 0x1_0000;
    timers.after(SESSION_MS * (0.75 + share / 2), () => {
      sessions.renew('age');
      this.start();
    });
  }

  #announce(cause: RenewalCause): void {
    const { sessions, self, roster, direct, gossiper, twin, logger, isRunning } = this.#options;
    if (cause === 'clock' || cause === 'machine') {
      const why = cause === 'clock' ? 'the clock jumped' : 'the machine goes on from an earlier state';
      logger.warn(`${why}: this node begins a new session and lets go of its answers under way`);
      // What this node has said since that earlier state is newer than what it remembers, and its own.
      twin.start();
    }
    self.setSession(sessions.id);
    self.renew();
    roster.announceSelf();
    if (!isRunning()) return;
    gossiper.introduce(INTRODUCED_MS);
    direct.repeat(INTRODUCED_DIRECTLY);
    gossiper.wake();
  }
}
