/**
 * One node's part of a trace: it opens packet sockets, the table of nftables and a tap of what the packet path drops, sends the
 * packet if it is the source, and says at the end what was seen. It lasts seconds, and everything it has opened goes with it.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { PacketSocket } from '../capture/packet-socket.ts';
import type { SeenPacket } from '../capture/recorder.ts';
import { DROPPED, type DroppedPacket, DropRing } from '../datapath/drop-ring.ts';
import { DROP_NAMES } from '../datapath/drops.ts';
import type { DropTapHandle, DropTaps } from '../dataplane/dataplane.ts';
import { errorMessage } from '../errors.ts';
import { listAddresses } from '../host/ip.ts';
import { addressFromBytes, formatAddress } from '../ip/address.ts';
import { answersIn } from './answers.ts';
import { FlowMatch } from './flow-match.ts';
import { gatherFacts, type NodeSources, podOf, routeTo } from './gather.ts';
import { KernelPaths } from './kernel-path.ts';
import type { Drop, Flow, NodeFacts, NodeObservation, Point, Role, Sighting } from './model.ts';
import { matchOuter, type Tunnel } from './outer-match.ts';
import { flowProgram, outerProgram } from './programs.ts';
import { sendProbe } from './send-probe.ts';
import { TRACE_TABLE_PREFIX } from './trace-rules.ts';
import { ruleText, TraceTable } from './trace-table.ts';

/** What is kept of each kind; a trace follows one packet, or the first ones. */
const MAX_SIGHTINGS = 64;
const MAX_DROPS = 64;
const PACKETS_AT_ONCE = 64;
/** Whatever looks like the flow's packets does not keep the agent from its work. */
const MAX_PACKETS = 20_000;
const POLL_MS = 20;

export interface ObservationRequest {
  readonly flow: Flow;
  /** The address that the source was given, which is not what it sends from if its owner has changed that. */
  readonly given: string;
  readonly role: Role;
  /** The node that the other end is on, if that is another one. */
  readonly other: string | undefined;
  /** The other node's end; undefined: there is none in it. */
  readonly tunnel: Tunnel | undefined;
}

export interface ObservationParts {
  readonly sources: NodeSources;
  readonly dropTaps: DropTaps | undefined;
}

/** How far it is, so that whoever waits knows when to stop. */
export interface Outlook {
  /** The packet was seen, or its answer, or that it cannot get on. */
  readonly hasSeen: boolean;
  readonly hasArrived: boolean;
  readonly isAnswered: boolean;
  readonly isLost: boolean;
}

interface Eye {
  readonly socket: PacketSocket;
  readonly take: (packet: SeenPacket) => void;
  count: number;
}

export class Observation {
  readonly #request: ObservationRequest;
  readonly #parts: ObservationParts;
  readonly #match: FlowMatch;
  readonly #paths: KernelPaths;
  readonly #table = `${TRACE_TABLE_PREFIX}${randomBytes(4).toString('hex')}`;
  readonly #eyes: Eye[] = [];
  /** Bounded by MAX_SIGHTINGS and MAX_DROPS. */
  readonly #sightings: Sighting[] = [];
  readonly #drops: Drop[] = [];
  #tap: DropTapHandle | undefined;
  #rings: readonly DropRing[] = [];
  #trace: TraceTable | undefined;
  #blind: string | null = null;
  #timer: NodeJS.Timeout | undefined;
  #before: Readonly<Record<string, number>> = {};
  #sent: NodeObservation['sent'] = null;
  #early: Promise<NodeFacts> | undefined;

  private constructor(request: ObservationRequest, parts: ObservationParts) {
    this.#request = request;
    this.#parts = parts;
    this.#match = new FlowMatch(request.flow);
    this.#paths = new KernelPaths(this.#table, this.#match, request.tunnel);
  }

  /** Begins to look. What this host does not let be seen is left out; of the kernel's rules that is said in `blind`. */
  static async begin(request: ObservationRequest, parts: ObservationParts): Promise<Observation> {
    const observation = new Observation(request, parts);
    try {
      await observation.#begin();
      return observation;
    } catch (error) {
      await observation.close();
      throw error;
    }
  }

  /** The address that the kernel there takes as source, where it is another one than the flow's. */
  static async sourceOf(
    { flow, role, given }: Omit<ObservationRequest, 'tunnel' | 'other'>,
    { sources }: ObservationParts,
  ): Promise<string> {
    const pod = role === 'destination' ? undefined : podOf(sources, given);
    if (pod?.netns === undefined) return flow.source;
    const route = await routeTo(flow.destination, { netns: pod.netns });
    // An address of the pod's own choice is what its programs would send from; a pod without any has none to choose.
    const isUsable = route.isFound && route.source !== undefined && route.device === pod.interfaceName;
    return isUsable ? route.source! : flow.source;
  }

  send(): void {
    const { flow, given } = this.#request;
    const pod = podOf(this.#parts.sources, given);
    try {
      this.#sent = { error: sendProbe(flow, pod?.netns), source: flow.source };
    } catch (error) {
      this.#sent = { error: errorMessage(error), source: flow.source };
    }
    // What stood in its way is looked at now: somebody may put it right at any moment.
    if (this.#sent.error !== null) this.#early = this.#facts(false);
  }

  look(): Outlook {
    this.#poll();
    const sees = (what: Sighting['what'], point?: Point) =>
      this.#sightings.some((one) => one.what === what && (point === undefined || one.point === point));
    return {
      // Any datagram of a sealed tunnel may be one of real packets.
      hasSeen: this.#sightings.some(
        ({ point }) => this.#request.flow.mark !== 0 || !point.startsWith('underlay'),
      ),
      hasArrived: sees('packet', 'to-pod'),
      isAnswered: answersIn(this.#sightings, this.#request.flow).length > 0,
      isLost:
        (this.#sent?.error ?? null) !== null ||
        this.#paths.isStopped ||
        this.#drops.some(({ isOurs }) => isOurs),
    };
  }

  /** What was seen; the observation is over. `triesAgent`: whether the other node's agent takes connections is looked at too. */
  async end(options: { readonly triesAgent: boolean }): Promise<NodeObservation> {
    const { role } = this.#request;
    const { sources } = this.#parts;
    try {
      this.#poll();
      const grown = this.#grown();
      const facts = await (this.#early ?? this.#facts(options.triesAgent));
      const names = new Map((await listAddresses()).map(({ ifindex, ifname }) => [ifindex, ifname]));
      const path = async (kind: 'inner' | 'outer') => {
        const drop = this.#paths.dropOf(kind);
        return this.#paths.path(kind, (index) => names.get(index), drop && (await ruleText(drop)));
      };
      const [inner, outer] = [await path('inner'), await path('outer')];
      return {
        ...{ node: sources.nodeName, role, facts, inner, outer, grown },
        ...{ sent: this.#sent, sightings: this.#sightings, drops: this.#drops, blind: this.#blind },
      };
    } finally {
      await this.close();
    }
  }

  #facts(triesAgent: boolean): Promise<NodeFacts> {
    const { flow, role, given, other } = this.#request;
    const facts = gatherFacts(this.#parts.sources, { flow, role, given, other, triesAgent });
    facts.catch(() => {});
    return facts;
  }

  /** May be called again. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const { socket } of this.#eyes.splice(0)) socket.close();
    this.#tap?.close();
    this.#tap = undefined;
    const trace = this.#trace;
    this.#trace = undefined;
    await trace?.close();
  }

  async #begin(): Promise<void> {
    const { flow, role, tunnel, given } = this.#request;
    const { sources, dropTaps } = this.#parts;
    try {
      this.#tap = dropTaps?.open();
      this.#rings = (this.#tap?.rings ?? []).map((shared) => new DropRing(shared));
    } catch {
      // Captures have them all: counters have to do.
    }
    const { tun, underlay } = sources.status();
    const ends = { source: [given], destination: [flow.destination], both: [given, flow.destination] };
    for (const address of new Set(ends[role])) {
      const pod = podOf(sources, address);
      if (pod !== undefined)
        this.#open(pod.hostInterface, ({ isOutbound }) => (isOutbound ? 'to-pod' : 'host-end'));
    }
    this.#open(tun.name, ({ isOutbound }) => (isOutbound ? 'into-tun' : 'out-of-tun'));
    if (tunnel !== undefined) this.#openOuter(underlay.interface, tunnel);
    try {
      this.#trace = await TraceTable.make({ table: this.#table, flow, tunnel });
    } catch (error) {
      this.#blind = errorMessage(error);
    }
    this.#before = this.#counters();
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
  }

  #open(interfaceName: string, pointOf: (packet: SeenPacket) => Point): void {
    this.#watch(interfaceName, flowProgram(this.#request.flow), (packet) => {
      const matched = this.#match.match(packet.bytes.subarray(packet.ip));
      if (matched !== undefined) this.#saw({ ...matched, point: pointOf(packet), atUs: packet.atUs });
    });
  }

  #openOuter(interfaceName: string, tunnel: Tunnel): void {
    const { flow } = this.#request;
    this.#watch(interfaceName, outerProgram(flow, tunnel), (packet) => {
      const bytes = packet.bytes.subarray(packet.ip);
      const matched = matchOuter(bytes, packet.length - packet.ip, tunnel, flow, this.#match);
      const point = packet.isOutbound ? 'underlay-out' : 'underlay-in';
      if (matched !== undefined) this.#saw({ ...matched, point, atUs: packet.atUs });
    });
  }

  /** An interface that is gone has nothing to see: the facts say so. */
  #watch(interfaceName: string, program: ReturnType<typeof flowProgram>, take: Eye['take']): void {
    try {
      this.#eyes.push({
        socket: new PacketSocket({ interfaceName, program, tellsGroups: false }),
        take,
        count: 0,
      });
    } catch {
      // See above.
    }
  }

  #saw(sighting: Sighting): void {
    if (this.#sightings.length < MAX_SIGHTINGS) this.#sightings.push(sighting);
  }

  #poll(): void {
    for (const eye of this.#eyes) {
      if (eye.count > MAX_PACKETS) continue;
      eye.socket.receive(PACKETS_AT_ONCE, (packet) => {
        eye.count++;
        eye.take(packet);
      });
    }
    this.#trace?.drain((message) => this.#paths.add(message));
    for (const ring of this.#rings)
      for (let packet = ring.take(); packet !== undefined; packet = ring.take()) this.#dropped(packet);
  }

  #dropped({ kind, reason, bytes, from }: DroppedPacket): void {
    if (this.#drops.length >= MAX_DROPS) return;
    const name = DROP_NAMES[reason] ?? `reason-${reason}`;
    if (kind !== DROPPED.datagram) {
      if (this.#match.match(bytes)?.what === 'packet') this.#drops.push({ reason: name, isOurs: true });
      return;
    }
    const { tunnel } = this.#request;
    const isPeer = from !== undefined && formatAddress(addressFromBytes(from.address)) === tunnel?.address;
    if (isPeer) this.#drops.push({ reason: name, isOurs: false });
  }

  #counters(): Record<string, number> {
    return { ...this.#parts.sources.status().datapath.drops, 'reverse-path': reversePathDrops() };
  }

  #grown(): Record<string, number> {
    const after = Object.entries(this.#counters());
    return Object.fromEntries(
      after.flatMap(([name, count]) => {
        const more = count - (this.#before[name] ?? 0);
        return more > 0 ? [[name, more]] : [];
      }),
    );
  }
}

/** Packets that the kernel's reverse path filter has dropped (TcpExt of /proc/net/netstat). */
function reversePathDrops(): number {
  try {
    const [names, values] = readFileSync('/proc/self/net/netstat', 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('TcpExt:'))
      .map((line) => line.split(' '));
    return Number(values?.[names?.indexOf('IPReversePathFilter') ?? -1] ?? 0);
  } catch {
    return 0;
  }
}
