/**
 * What a flood of handshakes does to a session that there is: one TCP stream, alone and while initiations with a right MAC1
 * come from forged addresses (bench/handshake-flood.c). They show that their sender knows the node's public key, so that all
 * of them are worth an answer, and nothing more.
 */
import { randomBytes } from 'node:crypto';
import { WarrenError } from '../errors.ts';
import type { LabHost } from '../lab/host.ts';
import type { CompiledProgram } from './compile.ts';
import { measureTcp } from './iperf.ts';
import { currentMemory } from './processes.ts';
import type { Stage } from './stage.ts';
import type { RunningSystem } from './system.ts';

const INITIATION_BYTES = 148;
/** Different ones, so that no cache helps; what they hold besides the MAC is random. */
const INITIATIONS = 2_000;
/** The stream's share of a measurement that the flood is longer. */
const LEAD_SECONDS = 1;
const TIMEOUT_MS = 60_000;

export interface FloodRound {
  readonly perSecond: number;
  readonly bitsPerSecond: number;
  /** That the flood has sent. */
  readonly sent: number;
  /** Resident, of the node under attack, MB; undefined where it has no process. */
  readonly memoryMb: number | undefined;
}

/** Initiations for whoever has `publicKey`: type, random bytes, a MAC1 that is right, no MAC2. */
export async function makeInitiations(publicKey: Uint8Array, count = INITIATIONS): Promise<Buffer> {
  const { MacStamper } = await import('../encapsulation/wireguard/macs.ts');
  const stamper = new MacStamper(publicKey);
  const all = Buffer.alloc(count * INITIATION_BYTES);
  for (let i = 0; i < count; i++) {
    const one = all.subarray(i * INITIATION_BYTES, (i + 1) * INITIATION_BYTES);
    randomBytes(INITIATION_BYTES).copy(one);
    one.writeUInt32LE(1, 0);
    one.fill(0, INITIATION_BYTES - 16);
    stamper.stamp(one, 0);
  }
  return all;
}

/** One stream from the first node to the second while the second gets `perSecond` of those in the file `initiations`; 0: none. */
export async function floodRound(
  stage: Stage,
  system: RunningSystem,
  attacker: LabHost,
  program: CompiledProgram,
  initiations: string,
  perSecond: number,
  seconds: number,
): Promise<FloodRound> {
  if ('missing' in program) throw new WarrenError('BENCH_SYSTEM_FAILED', program.missing);
  const [, target] = stage.nodes;
  const flood =
    perSecond === 0
      ? undefined
      : attacker.exec(
          [
            ...[program.path, target.addresses.ipv4, String(system.handshakes!.port)],
            ...[String(perSecond), String(perSecond * (seconds + 2 * LEAD_SECONDS))],
            ...[String(INITIATION_BYTES), initiations],
          ],
          { timeoutMs: TIMEOUT_MS },
        );
  const path = system.paths[0]!;
  const { bitsPerSecond } = await measureTcp(path, 1, seconds);
  const process = system.processes[1];
  const memoryMb = process && currentMemory(process)?.residentMb;
  const ended = await flood;
  if (ended && ended.code !== 0) throw new WarrenError('BENCH_SYSTEM_FAILED', ended.stderr.trim());
  return { perSecond, bitsPerSecond, sent: ended ? Number(ended.stdout) : 0, memoryMb };
}
