/** One measurement of one lane: runs the tool, and turns what it says into the metrics' units. */
import type { ProcessId } from '../lab/process.ts';
import type { CompiledPrograms } from './compile.ts';
import { measureTcp, measureUdp } from './iperf.ts';
import type { MeasureId, MetricId } from './metrics.ts';
import { cpuSeconds, machineBusySeconds } from './processes.ts';
import { measureRoundTrip } from './round-trip.ts';
import type { Path } from './system.ts';

const GIGA = 1e9;

export type Sample = Partial<Record<MetricId, number>>;

export interface MeasureContext {
  readonly path: Path;
  readonly processes: readonly ProcessId[];
  readonly programs: CompiledPrograms;
  readonly seconds: number;
}

export async function measure(id: MeasureId, context: MeasureContext): Promise<Sample> {
  const { path, seconds } = context;
  switch (id) {
    case 'tcp1':
      return tcpWithCpu(context);
    case 'tcp4':
      return { tcp4: (await measureTcp(path, 4, seconds)).bitsPerSecond / GIGA };
    case 'udp64': {
      const { packetsPerSecond, lost } = await measureUdp(path, 64, seconds);
      return { udp64: packetsPerSecond / 1000, udp64Loss: lost * 100 };
    }
    case 'udp1200': {
      const { packetsPerSecond, lost } = await measureUdp(path, 1200, seconds);
      return { udp1200: packetsPerSecond / 1000, udp1200Loss: lost * 100 };
    }
    case 'rtt': {
      const { p50Us, p99Us } = await measureRoundTrip(path, context.programs.roundTrip, seconds);
      return { rttP50: p50Us, rttP99: p99Us };
    }
  }
}

/** The machine's share holds iperf3 itself, which is the same program for every system. */
async function tcpWithCpu({ path, processes, seconds }: MeasureContext): Promise<Sample> {
  const read = (): { agents: number[]; machine: number } => ({
    agents: processes.map(cpuSeconds),
    machine: machineBusySeconds(),
  });
  const before = read();
  const { bitsPerSecond, bytes } = await measureTcp(path, 1, seconds);
  const after = read();
  const gigabytes = bytes / GIGA;
  const [cpuSender, cpuReceiver] = after.agents.map((cpu, i) => (cpu - before.agents[i]!) / gigabytes);
  return {
    tcp1: bitsPerSecond / GIGA,
    cpuMachine: (after.machine - before.machine) / gigabytes,
    ...(cpuSender === undefined || cpuReceiver === undefined
      ? {}
      : { cpuAgents: cpuSender + cpuReceiver, cpuSender, cpuReceiver }),
  };
}
