/**
 * Traces as the node makes them that is asked: it has both nodes look, the one with the source send, and makes one report of what they
 * have seen. Either may be this node itself. Others are asked by `trace.node`, in answers that fit one segment, so that they also
 * come where long ones are lost.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Clock } from '../clock.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { formatAddress } from '../ip/address.ts';
import { parseEndpoint } from '../ip/endpoint.ts';
import type { Rpc, RpcCaller } from '../rpc/rpc.ts';
import type { z } from '../zod.ts';
import { diagnose } from './diagnose.ts';
import { type KnownWorld, resolveEnds } from './ends.ts';
import {
  type NodeQuestion,
  nodeObservation,
  nodeQuestion,
  outlook,
  sourceAnswer,
  type TraceRequest,
} from './messages.ts';
import { TRACE_METHOD } from './method.ts';
import type { Flow, MissingNode, NodeObservation, Role, TraceEnd, TraceInput, TraceReport } from './model.ts';
import type { NodeTraces } from './node-traces.ts';
import type { Outlook } from './observation.ts';
import type { Tunnel } from './outer-match.ts';
import { leastBytes } from './probe-packet.ts';

/** To begin, a node runs some programs. */
const BEGIN_MS = 5000;
const ASK_MS = 4000;
const LOOK_MS = 100;
/** A packet that is on its way is there within milliseconds; a handshake may have to come first, and be tried again. */
const PATIENCE_MS = 2000;
/** After the packet has arrived, for an answer; after it was dropped, for what else comes of it. */
const ANSWER_MS = 600;
const LOST_MS = 300;
/** Not what others send as a rule, so that the tunnel's datagrams with it are known by their length. */
const DEFAULT_BYTES = 412;
/** What is tried when a long packet is lost between nodes. */
const SMALL_BYTES = 140;
const MAX_JSON_BYTES = 256 * 1024;
const [FIRST_MARK, LAST_MARK] = [20_000, 30_000];

export interface TracesOptions {
  readonly rpc: Pick<Rpc, 'call'>;
  readonly clock: Clock;
  readonly nodeName: string;
  readonly own: NodeTraces;
  readonly world: () => KnownWorld;
  /** The id of a node that has an agent. */
  readonly idOf: (node: string) => string | undefined;
  /** Of a node's tunnel, as reports have it; undefined or empty: it is not known. */
  readonly endpointOf: (node: string) => string | undefined;
  /** What goes between nodes is. */
  readonly isSealed: () => boolean;
  /** Whether the node with this id takes part in forwarding. */
  readonly admits: (nodeId: string) => boolean;
}

/** A node that has begun to look, or why it has not. */
type Begun = { readonly node: string; readonly id: string } | MissingNode;

interface Plan {
  readonly flow: Flow;
  readonly from: TraceEnd;
  readonly to: TraceEnd;
  readonly isLive: boolean;
  readonly seconds: number;
}

export class Traces {
  readonly #options: TracesOptions;

  constructor(options: TracesOptions) {
    this.#options = options;
  }

  /** Throws POD_UNKNOWN and the like. A node that does not answer is a part of the report. */
  async run(request: TraceRequest, signal: AbortSignal): Promise<TraceReport> {
    const { source, destination, protocol, live, seconds } = request;
    const { from, to } = resolveEnds(source, destination, this.#options.world());
    const family = from.address.includes(':') ? 6 : 4;
    if (protocol !== 'icmp' && request.port === 0)
      throw new WarrenError('BAD_REQUEST', `a trace of ${protocol} needs a port`);
    // A first segment of TCP has no payload, or firewalls wonder.
    const usual = protocol === 'tcp' ? 0 : DEFAULT_BYTES;
    const flow: Flow = {
      ...{ family, source: from.address, destination: to.address, protocol },
      ...{ port: protocol === 'icmp' ? 0 : request.port, mark: live ? 0 : randomInt(FIRST_MARK, LAST_MARK) },
      bytes: live ? 0 : Math.max(request.bytes ?? usual, leastBytes({ family, protocol })),
    };
    const input = await this.#observe({ flow, from, to, isLive: live, seconds }, signal);
    const report = diagnose(input);
    if (report.verdict.cause !== 'underlay-lost' || flow.bytes <= SMALL_BYTES || live) return report;
    // Lost between the nodes: is it for its length?
    const small: Flow = { ...flow, mark: randomInt(FIRST_MARK, LAST_MARK), bytes: SMALL_BYTES };
    const again = await this.#observe({ flow: small, from, to, isLive: false, seconds }, signal);
    const hasArrived = hasCome(again);
    return diagnose({ ...input, smaller: { bytes: small.bytes, hasArrived } });
  }

  /** Ends what this node does of traces. */
  close(): Promise<void> {
    return this.#options.own.close();
  }

  /** What another node gets. */
  async answer(body: Uint8Array, caller: RpcCaller): Promise<Iterable<Uint8Array>> {
    if (!this.#options.admits(caller.id))
      throw new WarrenError('TRACE_REFUSED', 'it answers only nodes that take part in forwarding');
    let question: NodeQuestion;
    try {
      question = nodeQuestion.parse(JSON.parse(Buffer.from(body).toString('utf8')));
    } catch (cause) {
      throw new WarrenError('BAD_REQUEST', 'it does not understand what is to be traced', {
        hint: 'Its agent may be of another version.',
        cause,
      });
    }
    return [gzipSync(JSON.stringify(await this.#options.own.answer(question)))];
  }

  async #observe(plan: Plan, signal: AbortSignal): Promise<TraceInput> {
    const { from, to } = plan;
    const isOneNode = to.node === null || to.node === from.node;
    if (from.node === null) {
      const missing: MissingNode = {
        node: this.#options.nodeName,
        missing: `nobody knows whose address ${from.address} is`,
      };
      return { ...plan, source: missing, destination: null };
    }
    const node = from.node;
    let flow = plan.flow;
    if (!plan.isLive) {
      try {
        const { source } = await this.#ask(
          node,
          { action: 'source', flow, given: from.address },
          sourceAnswer,
          BEGIN_MS,
        );
        flow = { ...flow, source };
      } catch (error) {
        return { ...plan, source: missingOf(node, error), destination: null };
      }
    }
    const both: Role = to.node === node ? 'both' : 'source';
    const [source, destination] = await Promise.all([
      this.#begin(node, both, flow, from, to),
      isOneNode ? null : this.#begin(to.node!, 'destination', flow, to, from, from.address),
    ]);
    const begun = [source, destination].filter((one) => one !== null && !('missing' in one)) as {
      node: string;
      id: string;
    }[];
    try {
      if (!('missing' in source)) {
        if (!plan.isLive) await this.#ask(node, { action: 'send', id: source.id }, outlook, ASK_MS);
        await this.#wait(begun, plan, signal);
      }
    } catch {
      // Whoever does not answer any more does not at the end either, which says why.
    }
    const triesAgent = destination !== null && 'missing' in destination;
    const seen = (one: Begun): Promise<NodeObservation | MissingNode> => this.#end(one, triesAgent);
    const [first, second] = await Promise.all([
      seen(source),
      destination === null ? null : seen(destination),
    ]);
    return { flow, from, to, source: first, destination: second, isLive: plan.isLive };
  }

  async #begin(
    node: string,
    role: Role,
    flow: Flow,
    own: TraceEnd,
    other: TraceEnd,
    given = own.address,
  ): Promise<Begun> {
    const id = randomBytes(8).toString('hex');
    const tunnel = other.node === null || other.node === node ? undefined : this.#tunnel(node, other.node);
    const question: NodeQuestion = {
      ...{ action: 'begin', id, flow, given, role },
      ...(tunnel && { tunnel }),
      ...(other.node !== null && other.node !== node && { other: other.node }),
    };
    try {
      await this.#ask(node, question, outlook, BEGIN_MS);
      return { node, id };
    } catch (error) {
      return missingOf(node, error);
    }
  }

  /** As the first of them sees it; undefined where its other end is not known. */
  #tunnel(node: string, other: string): Tunnel | undefined {
    const { endpointOf, isSealed } = this.#options;
    const [own, there] = [endpointOf(node), endpointOf(other)].map((text) =>
      text ? parseEndpoint(text) : undefined,
    );
    if (there === undefined) return undefined;
    return {
      ...{ address: formatAddress(there.address), port: there.port, ownPort: own?.port ?? there.port },
      isSealed: isSealed(),
    };
  }

  /** Until there is nothing more to see. */
  async #wait(
    nodes: readonly { node: string; id: string }[],
    plan: Plan,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#options;
    const beginMs = clock.now();
    const patienceMs = plan.isLive ? plan.seconds * 1000 : PATIENCE_MS;
    let seenMs: number | undefined;
    let arrivedMs: number | undefined;
    let lostMs: number | undefined;
    while (!signal.aborted) {
      const looks: Outlook[] = await Promise.all(
        nodes.map(({ node, id }) => this.#ask(node, { action: 'look', id }, outlook, ASK_MS)),
      );
      const nowMs = clock.now();
      if (looks.some(({ hasSeen }) => hasSeen)) seenMs ??= nowMs;
      if (looks.some(({ hasArrived }) => hasArrived)) arrivedMs ??= nowMs;
      // What is between two hooks at the moment looks as if it were lost.
      lostMs = looks.some(({ isLost }) => isLost) ? (lostMs ?? nowMs) : undefined;
      const isAnsweredBack = looks.every(({ isAnswered }) => isAnswered);
      const isOver = (sinceMs: number | undefined, ms: number) =>
        sinceMs !== undefined && nowMs - sinceMs >= ms;
      if (isAnsweredBack || isOver(arrivedMs, ANSWER_MS) || isOver(lostMs, LOST_MS)) return;
      // Of real packets the first ones are followed, for as long as a packet takes.
      if (isOver(plan.isLive ? seenMs : beginMs, PATIENCE_MS) || nowMs - beginMs >= patienceMs) return;
      await new Promise<void>((resolve) => void clock.after(LOOK_MS, resolve));
    }
  }

  async #end(begun: Begun, triesAgent: boolean): Promise<NodeObservation | MissingNode> {
    if ('missing' in begun) return begun;
    const { node, id } = begun;
    try {
      return await this.#ask(node, { action: 'end', id, triesAgent }, nodeObservation, BEGIN_MS);
    } catch (error) {
      return missingOf(node, error);
    }
  }

  async #ask<T>(node: string, question: NodeQuestion, schema: z.ZodType<T>, timeoutMs: number): Promise<T> {
    const { rpc, nodeName, own, idOf } = this.#options;
    if (node === nodeName) return (await own.answer(question)) as T;
    const id = idOf(node);
    if (id === undefined) throw new WarrenError('MEMBER_UNKNOWN', `${node} has no agent that could be asked`);
    const body = Buffer.from(JSON.stringify(question));
    const parts = await rpc.call(id, TRACE_METHOD, body, { timeoutMs });
    try {
      const json = gunzipSync(Buffer.concat(parts), { maxOutputLength: MAX_JSON_BYTES });
      return schema.parse(JSON.parse(json.toString('utf8')));
    } catch (cause) {
      throw new WarrenError('RPC_REFUSED', "the node's answer makes no sense", { cause });
    }
  }
}

function hasCome({ destination }: TraceInput): boolean {
  if (destination === null || 'missing' in destination) return false;
  return destination.sightings.some(
    ({ what, point }) => what === 'packet' && ['out-of-tun', 'to-pod'].includes(point),
  );
}

/** Calls that nobody has answered. */
const UNANSWERED: readonly string[] = ['RPC_UNREACHABLE', 'RPC_CANCELLED', 'MEMBER_UNKNOWN'];

function missingOf(node: string, error: unknown): MissingNode {
  const isAnswer = error instanceof WarrenError && !UNANSWERED.includes(error.code);
  return { node, missing: errorMessage(error), ...(isAnswer && { hasAnswered: true }) };
}
