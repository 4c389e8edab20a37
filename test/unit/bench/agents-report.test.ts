import { expect, test } from 'vitest';
import { agentTargets, programReport, renderAgents } from '../../../src/bench/agents-report.ts';

const machine = { kernel: '6', node: '20', cpu: 'cpu', cpus: 2, memoryMb: 1, loadBefore: 0 };
const round = (joinMs: number, bytesPerSecond: number) => ({
  joinMs,
  deathMs: 4000,
  healMs: 900,
  bytesPerSecond,
});

const warren = programReport('warren', '0.1.0', [round(900, 700), round(500, 300), round(700, 400)]);
const serf = programReport('serf', '0.9.4', [round(600, 400)]);

test('medians are held against those of serf: not slower, and no more bytes', () => {
  expect(agentTargets(warren, serf)).toMatchObject([
    { name: 'join, of serf', figure: 700 / 600, verdict: 'missed' },
    { name: 'five killed, of serf', figure: 1, verdict: 'met' },
    { name: 'healed, of serf', figure: 1, verdict: 'met' },
    { name: 'at rest, per node, of serf', figure: 1, verdict: 'met' },
  ]);
});

test('without serf nothing is said to be met', () => {
  for (const { verdict } of agentTargets(warren, undefined)) expect(verdict).toBe('not measured');
});

test('the tables have the figures in seconds, with their spread', () => {
  const text = renderAgents({
    ...{ format: 1, startedAt: '', agents: 20, rounds: 3, machine },
    programs: [warren, serf],
    targets: agentTargets(warren, serf),
  });
  expect(text).toMatch(/warren +0\.1\.0 +0\.70 \(0\.50 - 0\.90\) +4\.00 \(4\.00 - 4\.00\)/);
  expect(text).toMatch(/serf +0\.9\.4 +0\.60 +4\.00/);
  expect(text).toMatch(/missed +join, of serf +1\.17 \(<= 1\)/);
});
