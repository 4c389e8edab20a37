/**
 * A stream that outlives its keys: after two minutes (REKEY_AFTER_TIME in the WireGuard paper, section 6.1) the session that
 * seals it is replaced by another one, and no packet is lost over that. With WARREN_TEST_SCALE above 1 the stream is as fast
 * as it can be; else it leaves the machine to others.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { whileListening } from '../../src/bench/listener.ts';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { testScale } from '../helpers/scale.ts';

const REKEY_AFTER_SECONDS = 120;
const SECONDS = REKEY_AFTER_SECONDS + 12;
const RATE = testScale() > 1 ? '0' : '40M';
/** What a datagram can meet that comes, or is to leave, under keys that one side does not have. */
const OF_SESSIONS = ['outbound-no-session', 'inbound-no-session', 'inbound-replayed', 'inbound-forged'];
/** What has no room in the socket: a group of datagrams counts once. */
const OVERFLOW = 'inbound-socket-overflow';

describeUnless(lacking('root', 'ip', 'nsenter', 'iperf3'), 'a stream of more than two minutes', () => {
  let lab: Lab;
  let pods: readonly LabPod[];

  beforeAll(async () => {
    lab = await Lab.up({ name: 'rekey', nodes: 2, pods: 1 });
    pods = await Promise.all(lab.nodes.map((node) => lab.pod(node.name, 'pod-1')));
  });
  afterAll(() => lab?.down());

  const read = async (node: LabNode) => {
    const { status, peers } = await node.view();
    return { ...status.datapath, ageSeconds: peers[0]!.sessionAgeSeconds };
  };

  async function stream(): Promise<readonly Interval[]> {
    const [from, to] = pods as readonly [LabPod, LabPod];
    const address = to.address(4);
    let report = '';
    await whileListening(to, ['iperf3', '-s', '-1', '--forceflush'], 'listening', async () => {
      const argv = ['iperf3', '-J', '-c', address, '-t', String(SECONDS), '-b', RATE];
      const { code, stdout, stderr } = await from.exec(argv, { timeoutMs: (SECONDS + 20) * 1000 });
      expect(code, stdout + stderr).toBe(0);
      report = stdout;
    });
    return (JSON.parse(report) as { intervals: Interval[] }).intervals;
  }

  /** What each node has sent that never came to the other one. */
  async function lost(): Promise<number[]> {
    const both = await Promise.all(lab.nodes.map(read));
    return both.map(({ outbound }, i) => outbound.packets - both[1 - i]!.inbound.packets);
  }

  test(
    'goes on under new keys, and loses nothing',
    async () => {
      const before = await Promise.all(lab.nodes.map(read));
      const intervals = await stream();
      const after = await Promise.all(lab.nodes.map(read));
      for (const { ageSeconds } of after) expect(ageSeconds).toBeLessThan(SECONDS - REKEY_AFTER_SECONDS + 5);
      const drops = after.map((one, i) =>
        Object.fromEntries(OF_SESSIONS.map((name) => [name, one.drops[name]! - before[i]!.drops[name]!])),
      );
      const none = Object.fromEntries(OF_SESSIONS.map((name) => [name, 0]));
      expect(drops).toEqual([none, none]);
      expect(intervals.filter(({ sum }) => sum.bytes === 0)).toEqual([]);
      if (after.some(({ drops: { [OVERFLOW]: overflowed } }) => overflowed! > 0)) return;
      // What leaves between two looks is not there yet: looked at again.
      await expect.poll(lost, { timeout: 10_000 }).toEqual([0, 0]);
    },
    (SECONDS + 60) * 1000,
  );
});

interface Interval {
  readonly sum: { readonly bytes: number };
}
