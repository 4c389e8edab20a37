/**
 * Finds out, for each peer with an agent, whether groups of datagrams (UDP_SEGMENT) arrive there whole. Some kernels and
 * drivers damage them, which no test on this host alone shows; the receiver's kernel drops what arrives broken. When to
 * look is decided by path.ts, what a look says by verdict.ts; here they meet the clock, the peers and the network.
 */
import { nodeAddress } from '../attachment/addresses.ts';
import { type Clock, TimerGroup } from '../clock.ts';
import type { GroupSending, TrafficTotals } from '../dataplane/dataplane.ts';
import { errorMessage } from '../errors.ts';
import { type IpAddress, sameAddress } from '../ip/address.ts';
import { formatEndpoint } from '../ip/endpoint.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import type { KnownPeer } from '../peers/peer-view.ts';
import type { Rpc, RpcCaller } from '../rpc/rpc.ts';
import { Answerer } from './answerer.ts';
import { type Answer, askAboutGroups } from './asker.ts';
import { GroupPath, type Outcome, type Sent, type WantedProbe } from './path.ts';
import type { ProbeSender, ProbeSockets } from './sockets.ts';

/** Probes that are under way, and that begin in one tick: 6 % of a core, while so many peers are sent groups. */
const MAX_AT_ONCE = 8;
const MAX_PER_TICK = 16;
/** Problems of one kind that are told of: with one broken link it is all peers. */
const MAX_PROBLEMS = 20;
/** First contacts are spread over so long, for those that nothing is sent to yet. */
const CONTACT_MS = 5000;

export interface GroupProbeOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  readonly rpc: Rpc;
  readonly groups: GroupSending;
  /** Inner bytes that the path to a peer carries. */
  readonly mtu: (key: string) => number;
  /** This node's subnets that are in use. */
  readonly subnets: () => readonly Prefix[];
  /** Says which link this node sends by: another text, another link. */
  readonly link: () => string;
  readonly peers: () => readonly KnownPeer[];
  readonly traffic: (key: string) => TrafficTotals;
  /** Other peers than before are sent single datagrams. */
  readonly onChange: () => void;
}

/** Counted since the agent's start, by what came out. */
export type ProbeCounts = Readonly<Record<Outcome, number>>;

interface Watched {
  readonly key: string;
  readonly path: GroupPath;
  peer: KnownPeer;
  link: string;
  /** It was not there for a while: it may be another kernel by now. */
  wasAway: boolean;
}

export class GroupProbes {
  readonly #options: GroupProbeOptions;
  readonly #sockets: ProbeSockets;
  readonly #answerer: Answerer;
  readonly #timers: TimerGroup;
  /** By peer; as many as there are. */
  readonly #watched = new Map<string, Watched>();
  readonly #counts: Record<Outcome, number> = {
    whole: 0,
    broken: 0,
    unclear: 0,
    unanswered: 0,
    unsupported: 0,
  };
  /** One of each family of this node's addresses. */
  #senders: { readonly address: IpAddress; readonly sender: ProbeSender }[] = [];
  #exemptPort: number | undefined;
  #underWay = 0;
  #isClosed = false;

  constructor(options: GroupProbeOptions, sockets: ProbeSockets) {
    this.#options = options;
    this.#sockets = sockets;
    this.#timers = new TimerGroup(options.clock);
    this.#answerer = new Answerer({
      clock: options.clock,
      sockets,
      own: () => this.#own(),
      addressesOf: (id) => {
        const peer = options.peers().find((one) => one.kind === 'gossip' && one.id === id);
        return (peer?.subnets ?? []).map(nodeAddress);
      },
    });
  }

  get counts(): ProbeCounts {
    return this.#counts;
  }

  /** Whether a peer, by its key, is sent single datagrams. */
  isSentSingly(key: string): boolean {
    return this.#watched.get(key)?.path.isSentSingly ?? false;
  }

  /** One sentence for each peer that is sent single datagrams, up to a bound. */
  problems(): string[] {
    return [...this.#watched.values()]
      .filter(({ path }) => path.isSentSingly)
      .slice(0, MAX_PROBLEMS)
      .map(
        ({ peer }) =>
          `groups of datagrams (udpSegment) do not arrive whole at ${peer.name}: it is sent single ones, and groups are tried again`,
      );
  }

  answer(body: Uint8Array, caller: RpcCaller, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    return this.#answerer.answer(body, caller, signal);
  }

  /** To be called about once a second: sends the probes that are due. */
  tick(): void {
    const { clock, groups } = this.#options;
    if (this.#isClosed || !groups.isUsed() || this.#own().length === 0) return;
    this.#follow();
    const nowMs = clock.now();
    let begun = 0;
    for (const watched of this.#watched.values()) {
      if (begun === MAX_PER_TICK || this.#underWay >= MAX_AT_ONCE) break;
      if (!canBeAsked(watched.peer)) continue;
      // Keys are for pairs that talk, and a probe would be the first word.
      if (watched.peer.postQuantum === 'needed' && this.#sent(watched.key).packets === 0) continue;
      const wanted = watched.path.due(nowMs, this.#sent(watched.key));
      if (!wanted) continue;
      begun++;
      // Those that were looked at longest ago come first.
      this.#watched.delete(watched.key);
      this.#watched.set(watched.key, watched);
      void this.#probe(watched, wanted);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#timers.close();
    this.#answerer.close();
    this.#closeSenders();
  }

  #follow(): void {
    const { clock, random, peers, link } = this.#options;
    const present = new Map(peers().flatMap((peer) => (peer.kind === 'gossip' ? [[peer.key, peer]] : [])));
    for (const key of this.#watched.keys()) if (!present.has(key)) this.#watched.delete(key);
    const own = link();
    for (const [key, peer] of present) {
      const watched = this.#watched.get(key);
      const text = `${own} ${peer.endpoint && formatEndpoint(peer.endpoint)} ${peer.mtu}`;
      if (!watched) {
        if (!canBeAsked(peer)) continue;
        const path = new GroupPath(clock.now(), random() * CONTACT_MS);
        this.#watched.set(key, { key, path, peer, link: text, wasAway: false });
        continue;
      }
      watched.peer = peer;
      if (!canBeAsked(peer)) watched.wasAway = true;
      else if (watched.wasAway || watched.link !== text) {
        watched.wasAway = false;
        watched.link = text;
        watched.path.changed(clock.now());
      }
    }
  }

  async #probe(watched: Watched, wanted: WantedProbe): Promise<void> {
    const { clock, log } = this.#options;
    const { key, path, peer } = watched;
    this.#underWay++;
    const answer = await this.#ask(watched, wanted);
    this.#underWay--;
    if (this.#isClosed) return;
    this.#counts[answer.outcome]++;
    const wasSentSingly = path.isSentSingly;
    path.result(clock.now(), answer.outcome, this.#sent(key));
    if (this.#watched.get(key) !== watched) return;
    const { lost, sent, damaged } = answer;
    if (path.isSentSingly !== wasSentSingly) {
      const fields = { node: peer.name, lost, sent, damaged };
      if (wasSentSingly) log.info(fields, 'groups of datagrams arrive whole again, and are sent again');
      else log.warn(fields, 'groups of datagrams do not arrive whole: single ones are sent from now on');
      this.#options.onChange();
    }
    // What a look found is looked at closely now, and not with the next tick.
    const next = path.due(clock.now(), this.#sent(key));
    if (next) await this.#probe(watched, next);
  }

  async #ask(watched: Watched, wanted: WantedProbe): Promise<Answer> {
    const { rpc, clock, log, groups, mtu } = this.#options;
    const { key, peer, path } = watched;
    try {
      const way = await this.#wayTo(peer);
      if (!way) return { outcome: 'unclear', lost: 0, sent: 0, damaged: 0 };
      return await askAboutGroups(
        { rpc, clock, grouped: () => groups.count(key) },
        {
          memberId: peer.id,
          ...way,
          mtu: mtu(key),
          wanted,
          needsProof: path.isSentSingly,
        },
      );
    } catch (error) {
      log.debug(
        { err: error, node: peer.name },
        `cannot find out whether groups arrive: ${errorMessage(error)}`,
      );
      return { outcome: 'unclear', lost: 0, sent: 0, damaged: 0 };
    }
  }

  /** Undefined: the peer has no address of a family that this node has. */
  async #wayTo(
    peer: KnownPeer,
  ): Promise<{ sender: ProbeSender; from: IpAddress; to: IpAddress } | undefined> {
    await this.#openSenders();
    for (const { address, sender } of this.#senders) {
      const to = peer.subnets.map(nodeAddress).find(({ family }) => family === address.family);
      if (to) return { sender, from: address, to };
    }
    return undefined;
  }

  /** On the addresses that this node has now, all on one port, which the packet path is told. */
  async #openSenders(): Promise<void> {
    const own = this.#own();
    const isOpen =
      own.length === this.#senders.length &&
      own.every((address, i) => sameAddress(address, this.#senders[i]!.address));
    if (!isOpen) {
      this.#closeSenders();
      let port = 0;
      for (const address of own) {
        const sender = this.#sockets.openSender(address, port);
        this.#senders.push({ address, sender });
        port = sender.port;
      }
    }
    const port = this.#senders[0]?.sender.port;
    if (port === undefined || port === this.#exemptPort) return;
    await this.#options.groups.exempt(port);
    this.#exemptPort = port;
  }

  #closeSenders(): void {
    for (const { sender } of this.#senders) sender.close();
    this.#senders = [];
  }

  #own(): readonly IpAddress[] {
    return this.#options.subnets().map(nodeAddress);
  }

  #sent(key: string): Sent {
    const { groups, traffic } = this.#options;
    return { packets: traffic(key).outboundPackets, grouped: groups.count(key) };
  }
}

/** It is there, has an agent and a subnet, and can be sent to. */
function canBeAsked({ status, subnets, unreachable }: KnownPeer): boolean {
  return status === 'alive' && subnets.length > 0 && unreachable === undefined;
}
