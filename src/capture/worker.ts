/**
 * A capture's own thread: it takes packets from the kernel and from the packet path's rings, and hands them over in the
 * order of their times. It exists only while a capture runs, and costs the control thread no more than passing bytes on.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { DropRing } from '../datapath/drop-ring.ts';
import { PollSet } from '../datapath/poll-set.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { POLLIN } from '../sys/constants.ts';
import { monotonicMs } from '../sys/monotonic.ts';
import { looksInside } from './filter.ts';
import { PacketSocket } from './packet-socket.ts';
import { LINK_TYPE } from './pcapng.ts';
import { innerProgram, tunnelProgram } from './programs.ts';
import { Recorder } from './recorder.ts';
import { type CaptureSettings, CONTROL, type FromCapture } from './thread-messages.ts';

/** How often dropped packets are looked for, and it is looked whether to end. */
const POLL_MS = 50;
/** The kernel shows a packet a moment after the time that it is given. */
const SETTLED_US = 2000;
/** The sockets hold many times what comes in so long. */
const GATHER_MS = 4;
/** From one socket, before the other has its turn. */
const PACKETS_A_TURN = 256;
/** How often it is said that there is nothing, so that others' packets need not wait for these. */
const QUIET_MS = 200;
/** Handed over and not taken yet; beyond it packets wait in the sockets, and are lost there. */
const MAX_UNTAKEN_BYTES = 2 * 1024 * 1024;

const settings = workerData as CaptureSettings;
const port = parentPort!;
const control = new Int32Array(settings.control);
const rings = settings.rings.map((shared) => new DropRing(shared));
const recorder = new Recorder(settings);
const sockets: { readonly inner?: PacketSocket; readonly outer?: PacketSocket } = {};

function say(message: FromCapture): void {
  port.postMessage(message);
}

function openSockets(): void {
  const { filter, tunName, underlayName, tunnelPorts, snapBytes, isSealed } = settings;
  if (filter.sides.includes('inner')) {
    const program = innerProgram(filter, snapBytes);
    Object.assign(sockets, {
      inner: new PacketSocket({ interfaceName: tunName, program, tellsGroups: false }),
    });
  }
  // What is in a sealed datagram cannot be seen: none passes a condition on it.
  if (filter.sides.includes('outer') && !(isSealed && looksInside(filter))) {
    const program = tunnelProgram(tunnelPorts, filter.peerEndpoints);
    Object.assign(sockets, {
      outer: new PacketSocket({ interfaceName: underlayName, program, tellsGroups: true }),
    });
  }
}

/** What has to be added to CLOCK_MONOTONIC, in microseconds, to have the time of day: at the moment its clock ticks. */
function wallOffsetUs(): number {
  const before = Date.now();
  let now = before;
  while (now === before) now = Date.now();
  return now * 1000 - monotonicMs() * 1000;
}

function record(): void {
  const offsetUs = wallOffsetUs();
  const wallUs = () => Math.floor(monotonicMs() * 1000 + offsetUs);
  const outerLinkType = sockets.outer?.isEthernet === false ? LINK_TYPE.raw : LINK_TYPE.ethernet;
  const both = [sockets.inner, sockets.outer].filter((socket) => socket !== undefined);
  const poll = new PollSet(both.map(({ fd }) => ({ fd, events: POLLIN })));
  hand(0, recorder.head(outerLinkType));
  let saidMs = 0;
  let isDrained = true;
  while (Atomics.load(control, CONTROL.stop) === 0) {
    const isTaken = Atomics.load(control, CONTROL.untaken) < MAX_UNTAKEN_BYTES;
    if (isTaken) poll.wait(POLL_MS);
    // Packets come together: waking up for each of them costs more than taking them.
    if (!isTaken || isDrained) Atomics.wait(control, CONTROL.stop, 0, isTaken ? GATHER_MS : POLL_MS);
    const untilUs = wallUs() - SETTLED_US;
    if (isTaken) isDrained = takeAll(offsetUs);
    const blocks = recorder.take(untilUs);
    if (blocks.length === 0 && monotonicMs() - saidMs < QUIET_MS) continue;
    saidMs = monotonicMs();
    hand(untilUs, blocks);
  }
  takeAll(offsetUs);
  hand(wallUs(), recorder.take(Number.MAX_SAFE_INTEGER));
  const dropped = rings.reduce((sum, ring) => sum + ring.lost, 0);
  const lost = { inner: sockets.inner?.lost() ?? 0, outer: sockets.outer?.lost() ?? 0, dropped };
  hand(wallUs(), recorder.tail(wallUs(), lost));
}

/** True if that was all there is. */
function takeAll(offsetUs: number): boolean {
  const isMore = [
    sockets.inner?.receive(PACKETS_A_TURN, (packet) => recorder.inner(packet)),
    sockets.outer?.receive(PACKETS_A_TURN, (packet) => recorder.outer(packet)),
  ];
  for (const ring of rings) {
    for (let packet = ring.take(); packet !== undefined; packet = ring.take()) {
      recorder.dropped(packet, Math.floor(packet.atMs * 1000 + offsetUs));
    }
  }
  return !isMore.includes(true);
}

function hand(untilUs: number, blocks: Uint8Array): void {
  Atomics.add(control, CONTROL.untaken, blocks.length);
  const own = blocks.byteLength === blocks.buffer.byteLength ? blocks : blocks.slice();
  port.postMessage({ kind: 'packets', untilUs, blocks: own } satisfies FromCapture, [
    own.buffer as ArrayBuffer,
  ]);
}

try {
  openSockets();
  record();
} catch (error) {
  say({
    kind: 'failed',
    message: errorMessage(error),
    hint: error instanceof WarrenError ? error.hint : undefined,
  });
} finally {
  sockets.inner?.close();
  sockets.outer?.close();
}
port.close();
