/** The machine that a run's figures belong to. */
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';
import type { MachineReport } from './report.ts';

export function describeMachine(): MachineReport {
  return {
    kernel: release(),
    node: process.versions.node,
    cpu: cpus()[0]?.model.trim() || 'unknown',
    cpus: availableParallelism(),
    memoryMb: Math.round(totalmem() / 1e6),
    loadBefore: Math.round(loadavg()[0]! * 100) / 100,
  };
}
