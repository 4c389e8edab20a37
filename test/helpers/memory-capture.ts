/** A node's part of a capture in memory: what its packet path drops, at the clock's time. */
import type { LocalCapture } from '../../src/agent/capture.ts';
import { Recorder } from '../../src/capture/recorder.ts';
import type { CapturePart } from '../../src/capture/source.ts';
import type { Clock } from '../../src/clock.ts';
import { DropRing } from '../../src/datapath/drop-ring.ts';

const POLL_MS = 50;

export async function* memoryCapture(
  { request, rings, ...names }: LocalCapture,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<CapturePart> {
  const { filter, snapBytes } = request;
  const recorder = new Recorder({ ...names, filter, snapBytes });
  const nowUs = () => Math.floor(clock.now() * 1000);
  yield { untilUs: 0, blocks: recorder.head() };
  while (!signal.aborted) {
    await new Promise<void>((resolve) => {
      clock.after(POLL_MS, resolve);
    });
    for (const ring of rings.map((shared) => new DropRing(shared))) {
      for (let packet = ring.take(); packet; packet = ring.take()) recorder.dropped(packet, nowUs());
    }
    yield { untilUs: nowUs(), blocks: recorder.take(nowUs()) };
  }
  yield { untilUs: nowUs(), blocks: recorder.tail(nowUs(), { inner: 0, outer: 0, dropped: 0 }) };
}
