/**
 * Group probes (group-probe/group-probes.ts) as an agent has them: loaded when there is a peer to look at, or one asks,
 * so that an agent without either does without.
 */
import type { Clock, Timer } from '../clock.ts';
import type { GroupProbeOptions, GroupProbes } from '../group-probe/group-probes.ts';
import { METHOD } from '../group-probe/method.ts';
import type { Logger } from '../log/logger.ts';
import type { Rpc } from '../rpc/rpc.ts';

const TICK_MS = 1000;

export type LoadGroupProbes = (options: GroupProbeOptions) => Promise<GroupProbes>;

export class GroupProbing {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #options: GroupProbeOptions;
  readonly #load: LoadGroupProbes;
  #probes: GroupProbes | undefined;
  #loading: Promise<GroupProbes> | undefined;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(rpc: Rpc, load: LoadGroupProbes, options: GroupProbeOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#options = options;
    this.#load = load;
    const probes = () => this.#loaded();
    rpc.serve(METHOD, async function* (body, caller, signal) {
      yield* (await probes()).answer(body, caller, signal);
    });
  }

  /** How many probes came out how. */
  get counts(): Readonly<Record<string, number>> {
    return this.#probes?.counts ?? {};
  }

  isSentSingly(key: string): boolean {
    return this.#probes?.isSentSingly(key) ?? false;
  }

  problems(): string[] {
    return this.#probes?.problems() ?? [];
  }

  start(): void {
    this.#timer = this.#clock.after(TICK_MS, () => {
      this.start();
      if (this.#probes) this.#probes.tick();
      else if (this.#hasPeer()) void this.#loaded().catch(() => {});
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#probes?.close();
  }

  #hasPeer(): boolean {
    const { subnets, groups, peers } = this.#options;
    return subnets().length > 0 && groups.isUsed() && peers().some(({ kind }) => kind === 'gossip');
  }

  #loaded(): Promise<GroupProbes> {
    if (this.#loading) return this.#loading;
    this.#loading = this.#load(this.#options).then((probes) => {
      this.#probes = probes;
      if (this.#isStopped) probes.close();
      return probes;
    });
    // What cannot be loaded once never can: everybody who asks is refused, and the log says it one time.
    this.#loading.catch((err) => this.#log.error({ err }, 'no group probes'));
    return this.#loading;
  }
}
