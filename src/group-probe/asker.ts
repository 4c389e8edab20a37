/** One group probe, from the announcement to the verdict. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { IpAddress } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Decoded } from '../protobuf/fields.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { encodeDatagram, PROBE_ID_BYTES } from './datagram.ts';
import { decodeReady, decodeResult, encodeAnnouncement, type Result } from './messages.ts';
import { METHOD } from './method.ts';
import type { Outcome, WantedProbe } from './path.ts';
import { type Plan, planOf } from './plan.ts';
import type { ProbeSender } from './sockets.ts';
import { verdictOf } from './verdict.ts';

const TIMEOUT_MS = 6000;
const MAX_ANSWER_BYTES = 1024;
/** Between two rounds: what one loses for want of room does not cost the next. */
const ROUND_MS = 20;
/** IP and UDP headers. */
const HEADER_BYTES = { 4: 28, 6: 48 } as const;
/** Bytes of an inner packet that are tried where the path does not carry what it should. */
const LESSER_MTUS = [1280, 576];

export interface AskerParts {
  readonly rpc: Rpc;
  readonly clock: Clock;
  /** Datagrams that have left in groups to this peer. */
  readonly grouped: () => number;
}

export interface Question {
  readonly memberId: string;
  readonly sender: ProbeSender;
  readonly from: IpAddress;
  readonly to: IpAddress;
  /** Bytes of an inner packet that the path should carry. */
  readonly mtu: number;
  readonly wanted: WantedProbe;
  /** Whole only if the datagrams did leave in groups, as far as the counters say. */
  readonly needsProof: boolean;
}

export interface Answer {
  readonly outcome: Outcome;
  readonly lost: number;
  readonly sent: number;
  /** Of those that came: otherwise than they were sent. */
  readonly damaged: number;
}

const NOTHING = { lost: 0, sent: 0, damaged: 0 };

/** Never rejects. */
export async function askAboutGroups(parts: AskerParts, question: Question): Promise<Answer> {
  try {
    return await ask(parts, question);
  } catch (error) {
    const isUnsupported = error instanceof WarrenError && error.code === 'RPC_UNSUPPORTED';
    return { outcome: isUnsupported ? 'unsupported' : 'unanswered', ...NOTHING };
  }
}

async function ask({ rpc, clock, grouped }: AskerParts, question: Question): Promise<Answer> {
  const { memberId, from, to, mtu, wanted, needsProof } = question;
  const id = randomBytes(PROBE_ID_BYTES).toString('hex');
  let plan = planOf(wanted.depth, mtu - HEADER_BYTES[to.family]);
  const body = encodeAnnouncement({ id, to, from, rounds: wanted.rounds, datagrams: plan.sizes.length });
  const answer = rpc.stream(memberId, METHOD, body, {
    timeoutMs: TIMEOUT_MS,
    maxAnswerBytes: MAX_ANSWER_BYTES,
  });
  let result: Result | undefined;
  let groupedBefore = 0;
  let isReady = false;
  for await (const part of answer) {
    if (isReady) {
      result = fieldOf(decodeResult(part));
      continue;
    }
    isReady = true;
    groupedBefore = grouped();
    plan = await sendRounds(clock, question, { id, port: fieldOf(decodeReady(part)), plan });
  }
  if (!result) throw new WarrenError('RPC_REFUSED', "the node's answer makes no sense");
  const { finding, lost, sent } = verdictOf(plan, result.received, wanted.enough);
  const inGroups = plan.groups.reduce((sum, { slots }) => sum + slots.length, 0) * wanted.rounds;
  const isProof = grouped() - groupedBefore >= inGroups / 2;
  const isUnproven = finding === 'whole' && needsProof && !isProof;
  return { outcome: isUnproven ? 'unclear' : finding, lost, sent, damaged: result.damaged };
}

/** Returns the plan that was sent by: one with shorter datagrams where the path does not carry the longest. */
async function sendRounds(
  clock: Clock,
  { sender, to, mtu, wanted }: Question,
  { id, port, plan }: { readonly id: string; readonly port: number; readonly plan: Plan },
): Promise<Plan> {
  const noise = randomBytes(Math.max(...plan.sizes));
  const mtus = LESSER_MTUS.filter((lesser) => lesser < mtu);
  let present = plan;
  for (let round = 0; round < wanted.rounds; round++) {
    if (round > 0) await new Promise<void>((resolve) => void clock.after(ROUND_MS, resolve));
    while (
      !sendRound(sender, { address: to, port }, present, (slot, bytes) =>
        encodeDatagram({ probe: id, round, slot }, noise, bytes),
      )
    ) {
      const lesser = mtus.shift();
      if (lesser === undefined) throw new WarrenError('RPC_REFUSED', 'nothing can be sent there');
      present = planOf(wanted.depth, lesser - HEADER_BYTES[to.family]);
    }
  }
  return present;
}

function sendRound(
  sender: ProbeSender,
  to: Endpoint,
  { sizes, sends }: Plan,
  datagram: (slot: number, bytes: number) => Uint8Array,
): boolean {
  return sends.every((slots) =>
    sender.send(
      to,
      slots.map((slot) => datagram(slot, sizes[slot]!)),
    ),
  );
}

function fieldOf<T>(decoded: Decoded<T>): T {
  if (decoded.ok) return decoded.value;
  throw new WarrenError('RPC_REFUSED', "the node's answer makes no sense");
}
