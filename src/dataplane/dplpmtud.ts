/**
 * Packetization layer path MTU discovery for one path (RFC 8899), as a machine without input or output: time is a
 * parameter, `poll` says which sizes to probe, `answered` says which of them came back. Sizes are bytes of inner packets.
 *
 *     DISABLED         no probe was ever answered: packets go by the smaller MTU of the two ends
 *     BASE             a black hole was found: is BASE_PLPMTU good?
 *     SEARCHING        between a size that passes and one that does not
 *     SEARCH_COMPLETE  the size is known, and confirmed while traffic flows
 *     ERROR            the same, with a size below BASE_PLPMTU
 *
 * Where it differs from the RFC, and why:
 *
 *   - A path starts with the most that its ends take, not with BASE_PLPMTU: most paths carry it, and a sender that was
 *     once told less keeps to that for ten minutes.
 *   - A probe counts as lost only if a small one that was sent right behind it came back. So a peer that is away for a
 *     while changes nothing, and a loss shows within a round trip, without PROBE_TIMER.
 *   - It takes more losses than MAX_PROBES to doubt the size that packets go by, so that congestion does not.
 *   - Packets go on by the old size while a search runs, two seconds at most, so that senders hear the right size at
 *     once and not BASE_PLPMTU first. They were in the black hole before, too.
 *   - PMTU_RAISE_TIMER starts with 10 s and doubles: a detour that is over is seen soon.
 */

export type ProbingState = 'DISABLED' | 'BASE' | 'SEARCHING' | 'SEARCH_COMPLETE' | 'ERROR';

/** The RFC's constants, and ours. */
export const DPLPMTUD = {
  /** MAX_PROBES: so many losses of one size say in a search that it does not pass. */
  maxProbes: 3,
  /**
   * So many, and two more for each small one that was lost meanwhile, say it of the size that packets go by: a network
   * that drops a tenth of what it carries makes for three in a row every 20 minutes, and is no black hole.
   */
  confirmationLosses: 7,
  maxConfirmationLosses: 15,
  /** PROBE_TIMER: without an answer to a probe or the small one behind it. The RFC's least value. */
  probeTimerMs: 1000,
  /** PMTU_RAISE_TIMER: the longest, and the first time after a black hole. */
  raiseTimerMs: 600_000,
  firstRaiseTimerMs: 10_000,
  /** CONFIRMATION_TIMER: between confirmations while traffic flows. */
  confirmationTimerMs: 1000,
  /** ICMP begins nothing for so long after it began something, or a search ended. */
  standsMs: 1000,
  /** A confirmation that is not answered by then is repeated, with a small probe behind it. */
  repeatMs: 300,
  /** How much later than the small probe the one before it may come back, on a network that reorders. */
  reorderingMs: 50,
  /** How long packets go by a size that does not pass, while the one that does is searched; and since the first loss. */
  searchBeforeLoweringMs: 2000,
  lossBeforeLoweringMs: 3000,
  /** A path that does not answer is asked again after this. */
  silentMs: 5000,
  /** BASE_PLPMTU without IPv6: what RFC 8899 recommends (5.1.2). */
  baseBytes: 1200,
  /** MIN_PLPMTU: what every IPv4 host takes (RFC 791). */
  minBytes: 576,
  /** The small probe. */
  smallBytes: 100,
} as const;

const NO_PROBES: readonly number[] = [];

/** One size that is being probed. */
interface Trial {
  readonly bytes: number;
  /** Whether it is the size that packets go by. */
  readonly isConfirmation: boolean;
  readonly startedMs: number;
  /** Of the latest probe. */
  sentMs: number;
  /** The latest probe has a small one behind it. */
  hasSmall: boolean;
  /** When the small one of the latest probe came back. */
  smallBackMs: number | undefined;
  losses: number;
  /** Small ones that were lost. */
  smallLosses: number;
  /** Probes in a row that brought nothing back, not even the small one. */
  silences: number;
}

/** `low` passes (0: nothing is known to), `high` does not. */
interface Search {
  low: number;
  high: number;
  /** Sizes to try before the middle of what is left. */
  readonly first: number[];
  /** Packets go by the size so far from then on; undefined: they do already, or go by one that passes. */
  lowerAtMs: number | undefined;
}

export class Dplpmtud {
  readonly #wantedBase: number;
  #maxBytes: number;
  #mtu: number;
  #state: ProbingState = 'DISABLED';
  /** It was asked again and again, and never answered: all that is known of it is what ICMP says. */
  #isMute = false;
  #trial: Trial | undefined;
  #search: Search | undefined;
  /** What ICMP said last of this path, if it is less than packets go by. */
  #hint: number | undefined;
  #confirmAtMs = 0;
  /** What was found out last counts until then, whatever ICMP says: the confirmation that goes on asks again. */
  #notBeforeMs = 0;
  /** Undefined while packets go by the most there can be. */
  #raiseAtMs: number | undefined;
  #raiseTimerMs: number = DPLPMTUD.firstRaiseTimerMs;

  /** `baseBytes`: BASE_PLPMTU. `maxBytes`: MAX_PLPMTU, the smaller MTU of the path's ends. */
  constructor(baseBytes: number, maxBytes: number) {
    this.#wantedBase = baseBytes;
    this.#maxBytes = maxBytes;
    this.#mtu = maxBytes;
  }

  get state(): ProbingState {
    return this.#state;
  }

  /** PLPMTU: what packets are measured against. */
  get mtu(): number {
    return this.#mtu;
  }

  /** Probes are out, or to be sent: `poll` is to be called often. */
  get isBusy(): boolean {
    return this.#trial !== undefined;
  }

  /**
   * The sizes to probe now, in the order in which they are to be sent. `isActive`: packets go to the path; without it
   * nothing is begun.
   */
  poll(nowMs: number, isActive: boolean, confirmationTimerMs: number): readonly number[] {
    const search = this.#search;
    if (search?.lowerAtMs !== undefined && nowMs >= search.lowerAtMs) this.#lower(search);
    if (this.#trial) return this.#pollTrial(this.#trial, nowMs);
    if (!isActive) return NO_PROBES;
    if (this.#raiseAtMs !== undefined && nowMs >= this.#raiseAtMs && this.#state !== 'DISABLED') {
      return this.#raise(nowMs);
    }
    if (nowMs < this.#confirmAtMs) return NO_PROBES;
    this.#confirmAtMs = nowMs + confirmationTimerMs;
    return send(this.#begin(this.#mtu, nowMs, true), nowMs, false);
  }

  /** A probe of `bytes` bytes that was sent at `sentMs` came back. */
  answered(bytes: number, sentMs: number, nowMs: number): void {
    if (this.#state === 'DISABLED') this.#connected();
    const trial = this.#trial;
    if (!trial) return;
    if (bytes >= trial.bytes && sentMs >= trial.startedMs) this.#passed(trial, nowMs);
    else if (bytes === DPLPMTUD.smallBytes && sentMs === trial.sentMs && trial.hasSmall) {
      trial.smallBackMs ??= nowMs;
    }
  }

  /**
   * ICMP says of the path that `bytes` fit, or says nothing (any more). Whether that is true a probe tells. Anybody can
   * send ICMP, as often as they like: it begins a trial where there is none, once a second at most, and never anew one that is
   * under way.
   */
  hint(bytes: number | undefined, nowMs: number): readonly number[] {
    const isLess = bytes !== undefined && bytes < this.#mtu;
    const isNew = isLess && bytes !== this.#hint;
    this.#hint = isLess ? bytes : undefined;
    if (this.#isMute) return this.#believe(bytes);
    if (!isLess) {
      // What the kernel had learned is forgotten, which is as good a moment as any to look for more.
      if (bytes === undefined && this.#raiseAtMs !== undefined) {
        this.#raiseAtMs = Math.min(this.#raiseAtMs, Math.max(nowMs, this.#notBeforeMs));
      }
      return NO_PROBES;
    }
    const trial = this.#trial;
    const isVerified = trial !== undefined && (trial.hasSmall || !trial.isConfirmation);
    if (!isNew || isVerified || nowMs < this.#notBeforeMs) return NO_PROBES;
    this.#notBeforeMs = nowMs + DPLPMTUD.standsMs;
    return send(trial ?? this.#begin(this.#mtu, nowMs, true), nowMs, true);
  }

  /** The ends of the path take another size at most from now on. */
  limit(maxBytes: number): void {
    if (maxBytes === this.#maxBytes) return;
    const wasMost = this.#mtu === this.#maxBytes;
    this.#maxBytes = maxBytes;
    this.#trial = undefined;
    this.#search = undefined;
    this.#confirmAtMs = 0;
    this.#mtu = wasMost ? maxBytes : Math.min(this.#mtu, maxBytes);
    this.#raiseAtMs = this.#mtu < maxBytes ? 0 : undefined;
    if (this.#state !== 'DISABLED') this.#settle();
  }

  get #base(): number {
    return Math.min(this.#wantedBase, this.#maxBytes);
  }

  get #min(): number {
    return Math.min(DPLPMTUD.minBytes, this.#maxBytes);
  }

  #begin(bytes: number, nowMs: number, isConfirmation: boolean): Trial {
    this.#trial = {
      bytes,
      isConfirmation,
      startedMs: nowMs,
      sentMs: Number.NEGATIVE_INFINITY,
      hasSmall: false,
      smallBackMs: undefined,
      losses: 0,
      smallLosses: 0,
      silences: 0,
    };
    return this.#trial;
  }

  #pollTrial(trial: Trial, nowMs: number): readonly number[] {
    const { maxProbes, probeTimerMs, repeatMs, reorderingMs } = DPLPMTUD;
    if (trial.smallBackMs !== undefined) {
      if (nowMs < trial.smallBackMs + reorderingMs) return NO_PROBES;
      trial.silences = 0;
      if (++trial.losses >= lossesThatTell(trial)) return this.#failed(trial, nowMs);
    } else if (trial.hasSmall) {
      if (nowMs < trial.sentMs + probeTimerMs) return NO_PROBES;
      trial.smallLosses++;
      if (++trial.silences >= maxProbes) return this.#silent(nowMs);
    } else if (nowMs < trial.sentMs + repeatMs) {
      return NO_PROBES;
    }
    return send(trial, nowMs, true);
  }

  #passed(trial: Trial, nowMs: number): void {
    this.#trial = undefined;
    if (trial.isConfirmation) {
      // Whatever ICMP said of a smaller one is not true.
      this.#settle();
      if (this.#mtu < this.#maxBytes) this.#raiseAtMs ??= nowMs + this.#raiseTimerMs;
      return;
    }
    const search = this.#search!;
    search.low = Math.max(search.low, trial.bytes);
    // What ICMP said and a probe has shown is told to senders before it is known whether one byte more passes, too. Less
    // than BASE_PLPMTU passes on most paths whatever was said, and senders would keep to it for ten minutes.
    const isHint = trial.bytes === this.#hint && trial.bytes >= this.#base;
    if (isHint && search.lowerAtMs !== undefined) this.#lower(search);
    this.#state = 'SEARCHING';
    this.#confirmAtMs = nowMs;
    this.#next(search, nowMs);
  }

  #failed(trial: Trial, nowMs: number): readonly number[] {
    this.#trial = undefined;
    if (trial.isConfirmation) {
      this.#state = 'BASE';
      this.#raiseAtMs = undefined;
      const lowerAtMs = Math.min(
        nowMs + DPLPMTUD.searchBeforeLoweringMs,
        trial.startedMs + DPLPMTUD.lossBeforeLoweringMs,
      );
      this.#search = { low: 0, high: trial.bytes, first: this.#firstSizes(trial.bytes), lowerAtMs };
    } else this.#search!.high = Math.min(this.#search!.high, trial.bytes);
    const search = this.#search!;
    // Not even the least: then that is what packets go by.
    if (search.low === 0 && search.high <= this.#min) search.low = search.high = this.#min;
    this.#next(search, nowMs);
    return this.#trial ? this.#pollTrial(this.#trial, nowMs) : NO_PROBES;
  }

  /** In a black hole of `high` bytes: what ICMP says, the byte behind it, BASE_PLPMTU, MIN_PLPMTU. */
  #firstSizes(high: number): number[] {
    const hint = this.#hint;
    const hinted = hint !== undefined && hint >= this.#min ? [hint, hint + 1] : [];
    return [...hinted, this.#base, this.#min].filter((bytes) => bytes < high);
  }

  /** Begins the next trial of a search, whose probes leave with the next `poll`, or ends the search. */
  #next(search: Search, nowMs: number): void {
    const bytes = nextSize(search);
    if (bytes === undefined) this.#complete(search, nowMs);
    else this.#begin(bytes, nowMs, false);
  }

  #complete(search: Search, nowMs: number): void {
    const found = Math.max(search.low, this.#min);
    const isMore = found > this.#mtu;
    if (search.lowerAtMs !== undefined || found < this.#mtu) this.#raiseTimerMs = DPLPMTUD.firstRaiseTimerMs;
    else if (!isMore) this.#raiseTimerMs = Math.min(2 * this.#raiseTimerMs, DPLPMTUD.raiseTimerMs);
    this.#mtu = found;
    this.#search = undefined;
    this.#notBeforeMs = nowMs + DPLPMTUD.standsMs;
    this.#settle();
    this.#raiseAtMs = found < this.#maxBytes ? nowMs + this.#raiseTimerMs : undefined;
  }

  #raise(nowMs: number): readonly number[] {
    this.#state = 'SEARCHING';
    this.#raiseAtMs = undefined;
    const [low, high] = [this.#mtu, this.#maxBytes + 1];
    // All, and if that fails a single byte: a path that has not changed is known after two sizes.
    const first = [this.#maxBytes, low + 1];
    this.#search = { low, high, first, lowerAtMs: undefined };
    return send(this.#begin(first.shift()!, nowMs, false), nowMs, true);
  }

  /** Packets go by the best size so far: BASE_PLPMTU, unless that is known to fail, or more to pass. */
  #lower(search: Search): void {
    search.lowerAtMs = undefined;
    this.#raiseTimerMs = DPLPMTUD.firstRaiseTimerMs;
    const least = search.high > this.#base ? this.#base : this.#min;
    this.#mtu = Math.min(this.#mtu, Math.max(search.low, least));
  }

  /** Not even small probes come back: nothing can be said of the path, and packets go on by the size of before. */
  #silent(nowMs: number): readonly number[] {
    this.#trial = undefined;
    this.#search = undefined;
    this.#confirmAtMs = nowMs + DPLPMTUD.silentMs;
    if (this.#state === 'DISABLED') {
      this.#isMute = true;
      return this.#believe(this.#hint);
    }
    this.#settle();
    if (this.#mtu < this.#maxBytes) this.#raiseAtMs ??= nowMs + this.#raiseTimerMs;
    return NO_PROBES;
  }

  #connected(): void {
    this.#isMute = false;
    this.#settle();
    if (this.#mtu < this.#maxBytes) this.#raiseAtMs = 0;
  }

  /** ICMP about a path that answers no probes can be true or a lie: it is believed down to BASE_PLPMTU. */
  #believe(bytes = this.#maxBytes): readonly number[] {
    this.#mtu = Math.min(this.#maxBytes, Math.max(bytes, this.#base));
    return NO_PROBES;
  }

  #settle(): void {
    this.#state = this.#mtu < this.#base ? 'ERROR' : 'SEARCH_COMPLETE';
  }
}

/** The sizes to send for a trial, now. */
function send(trial: Trial, nowMs: number, withSmall: boolean): readonly number[] {
  trial.sentMs = nowMs;
  trial.hasSmall = withSmall;
  trial.smallBackMs = undefined;
  return withSmall ? [trial.bytes, DPLPMTUD.smallBytes] : [trial.bytes];
}

function lossesThatTell({ isConfirmation, smallLosses }: Trial): number {
  if (!isConfirmation) return DPLPMTUD.maxProbes;
  return Math.min(DPLPMTUD.confirmationLosses + 2 * smallLosses, DPLPMTUD.maxConfirmationLosses);
}

/** Undefined once the size is known to the byte. */
function nextSize(search: Search): number | undefined {
  const isOpen = (bytes: number) => bytes > search.low && bytes < search.high;
  while (search.first.length > 0) {
    const bytes = search.first.shift()!;
    if (isOpen(bytes)) return bytes;
  }
  const middle = (search.low + search.high) >> 1;
  return isOpen(middle) ? middle : undefined;
}
