/**
 * What Node.js and the process do: processor time, memory, garbage collections and how late the event loop of the control
 * thread is. It is looked at from the first scrape on, so that an agent that nobody scrapes has neither timer nor observer.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { constants, type PerformanceEntry, PerformanceObserver, performance } from 'node:perf_hooks';
import type { Clock, Timer } from '../clock.ts';
import { Histogram } from '../histogram.ts';
import { histogram, metric } from './text.ts';

/** A collection that blocks the loop for longer is seen with certainty, a shorter one now and then. */
const LAG_INTERVAL_MS = 500;

const GC_KINDS: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
};

/** Of a garbage collection; its type does not say so. */
type GcEntry = PerformanceEntry & { readonly detail?: { readonly kind?: number } };

export class RuntimeMetrics {
  readonly #clock: Clock;
  /** Found once: it is to stay the same from scrape to scrape, or whoever counts restarts would see some. */
  readonly #startedAtS: number;
  readonly #lag = new Histogram();
  readonly #collections = new Map(Object.values(GC_KINDS).map((kind) => [kind, new Histogram()]));
  readonly #observer: PerformanceObserver;
  #timer: Timer;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAtS = Math.round(clock.wallTime() - process.uptime() * 1000) / 1000;
    this.#observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as readonly GcEntry[]) {
        const { duration, detail } = entry;
        const kind = GC_KINDS[detail?.kind ?? 0];
        if (kind !== undefined) this.#collections.get(kind)?.observe(duration / 1000);
      }
    });
    this.#observer.observe({ entryTypes: ['gc'] });
    this.#timer = this.#look();
  }

  render(): string {
    const { user, system } = process.cpuUsage();
    const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
    const { active, idle } = performance.eventLoopUtilization();
    const files = openFiles();
    return [
      metric('process_cpu_seconds_total', 'counter', 'Processor time of all threads.', [
        [{}, (user + system) / 1e6],
      ]),
      metric('process_start_time_seconds', 'gauge', 'When the agent was started, since 1970.', [
        [{}, this.#startedAtS],
      ]),
      metric('process_resident_memory_bytes', 'gauge', 'Resident memory.', [[{}, rss]]),
      metric('process_open_fds', 'gauge', 'Open file descriptors.', [[{}, files.open]]),
      metric('process_max_fds', 'gauge', 'The most file descriptors that may be open.', [[{}, files.most]]),
      metric('nodejs_version_info', 'gauge', 'The version of Node.js.', [[{ version: process.version }, 1]]),
      metric('nodejs_heap_size_total_bytes', 'gauge', "The control thread's heap.", [[{}, heapTotal]]),
      metric('nodejs_heap_size_used_bytes', 'gauge', 'What of it is in use.', [[{}, heapUsed]]),
      metric('nodejs_external_memory_bytes', 'gauge', 'Memory outside of it that belongs to objects in it.', [
        [{}, external],
      ]),
      metric('warren_event_loop_seconds_total', 'counter', 'What the control thread did with its time.', [
        [{ state: 'active' }, active / 1000],
        [{ state: 'idle' }, idle / 1000],
      ]),
      histogram('warren_event_loop_lag_seconds', 'How late a timer of the control thread fires.', [
        [{}, this.#lag.report()],
      ]),
      histogram(
        'nodejs_gc_duration_seconds',
        'Garbage collections of the control thread, by kind.',
        [...this.#collections].map(([kind, durations]) => [{ kind }, durations.report()] as const),
      ),
    ].join('');
  }

  close(): void {
    this.#timer.cancel();
    this.#observer.disconnect();
  }

  #look(): Timer {
    const dueMs = this.#clock.now() + LAG_INTERVAL_MS;
    return this.#clock.after(LAG_INTERVAL_MS, () => {
      this.#lag.observe(Math.max(0, this.#clock.now() - dueMs) / 1000);
      this.#timer = this.#look();
    });
  }
}

/** 0 where the host does not say. */
function openFiles(): { readonly open: number; readonly most: number } {
  try {
    const [, most = '0'] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    // The folder itself is open while it is read.
    return { open: readdirSync('/proc/self/fd').length - 1, most: Number(most) };
  } catch {
    return { open: 0, most: 0 };
  }
}
