/**
 * Datagrams of a session that somebody has recorded, sent again, changed, and under other sessions' numbers, by the hundred
 * thousand: none is let in, each is counted, and nothing is kept of them.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compilePrograms } from '../../src/bench/compile.ts';
import type { LabHost, LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { captureWhile } from '../helpers/capture.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { ping } from '../helpers/overlay-endpoints.ts';
import { silence } from '../helpers/packet-filter.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { testScale } from '../helpers/scale.ts';

/** A ping of 100 bytes, padded, with header and tag. */
const BYTES = 160;
const DATA = 4;
const COUNT = 600_000 * testScale();
/** What a socket's buffer holds is not lost, whatever the agent does meanwhile. */
const PER_SECOND = 60_000;
const TIMEOUT_MS = 90_000 + 4 * (COUNT / PER_SECOND) * 1000;
const LAST = Buffer.from('and this is the last one');

describeUnless(
  lacking('root', 'ip', 'ping', 'nsenter', 'gcc', 'tcpdump'),
  'a sealed tunnel under attack',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'warren-refusals-'));
    let programs: Awaited<ReturnType<typeof compilePrograms>>;
    let lab: Lab;
    let attacker: LabHost;
    let web: LabPod;
    let db: LabPod;
    let probe: Probe;

    beforeAll(async () => {
      programs = await compilePrograms();
      lab = await Lab.up({ name: 'refusals', nodes: 2, pods: 1 });
      attacker = await lab.addHost('attacker');
      await mustRun(lab.node(0), ['ip', 'route', 'add', '198.18.0.0/15', 'via', attacker.addresses.ipv4]);
      [web, db] = (await Promise.all([0, 1].map((node) => lab.pod(node, 'pod-1')))) as [LabPod, LabPod];
      probe = new Probe(lab.node(1));
      for (const node of lab.nodes) await silence(node);
    });
    afterAll(async () => {
      rmSync(folder, { recursive: true });
      probe?.stop();
      programs?.remove();
      await lab?.down();
    });

    /** Datagrams of pings from the second node's pod to the first's, as they came to the first node. */
    async function recorded(): Promise<Buffer[]> {
      const [to, from] = lab.nodes;
      const filter = `src host ${from!.addresses.ipv4} and (udp port 51820 or udp port 9)`;
      const frames = await captureWhile(
        { namespace: to!, device: 'eth0', filter, lastBytes: LAST },
        async () => {
          const { code } = await ping(db, web.address(4), ['-s', '100', '-c', '20', '-i', '0.01']);
          expect(code).toBe(0);
          const source = { host: from!.addresses.ipv4, port: 0 };
          await probe.udpSend(source, { host: to!.addresses.ipv4, port: 9 }, [LAST]);
        },
      );
      const payloads = frames.map((frame) => frame.subarray(14 + 20 + 8));
      return payloads.filter((payload) => payload[0] === DATA && payload.length === BYTES);
    }

    async function flood(datagrams: readonly Buffer[], count: number): Promise<void> {
      const { handshakeFlood } = programs;
      if ('missing' in handshakeFlood) throw new Error(handshakeFlood.missing);
      const file = join(folder, 'datagrams');
      writeFileSync(file, Buffer.concat(datagrams));
      const to = [lab.node(0).addresses.ipv4, '51820'];
      const argv = [handshakeFlood.path, ...to, String(PER_SECOND), String(count), String(BYTES), file];
      const { code, stdout, stderr } = await attacker.exec(argv, { timeoutMs: 600_000 });
      expect(code, stderr).toBe(0);
      expect(Number(stdout)).toBe(count);
    }

    const status = async () => (await lab.node(0).view()).status;
    async function residentMb(): Promise<number> {
      const { node } = await status();
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${node.pid}/status`, 'utf8'))![1]) / 1024;
    }

    test(
      'nothing of it opens, all of it is counted, and memory stays as it is',
      async () => {
        const captured = await recorded();
        expect(captured.length).toBeGreaterThanOrEqual(20);
        const forged = captured.map((datagram, i) => {
          const copy = Buffer.from(datagram);
          // A counter that did not come yet, or a byte of what is sealed.
          copy.writeUInt8(copy[i % 2 === 0 ? 9 : 40]! ^ 0x41, i % 2 === 0 ? 9 : 40);
          return copy;
        });
        const strange = captured.map((datagram) => {
          const copy = Buffer.from(datagram);
          randomBytes(4).copy(copy, 4);
          return copy;
        });
        const all = [...captured, ...forged, ...strange];
        // All that is allocated once has been.
        await flood(all, 30_000);
        const memoryMb = await residentMb();
        const before = (await status()).datapath;
        await flood(all, COUNT);
        const counts = () => status().then(({ datapath }) => refusedSince(before.drops, datapath.drops));
        await expect.poll(async () => total(await counts()), { timeout: 10_000 }).toBe(COUNT);
        const refused = await counts();
        expect(Object.keys(refused).sort()).toEqual(
          [...REASONS, 'inbound-socket-overflow'].filter((name) => refused[name] !== undefined).sort(),
        );
        for (const reason of REASONS) expect(refused[reason]).toBeGreaterThan(COUNT / 20);
        expect((await status()).datapath.inbound.packets).toBe(before.inbound.packets);
        expect((await residentMb()) - memoryMb).toBeLessThan(10);
        expect((await ping(db, web.address(6))).code).toBe(0);
      },
      TIMEOUT_MS,
    );
  },
);

const REASONS = ['inbound-forged', 'inbound-no-session', 'inbound-replayed'];

function refusedSince(before: Record<string, number>, now: Record<string, number>): Record<string, number> {
  const changed = Object.entries(now).map(([name, count]) => [name, count - before[name]!] as const);
  return Object.fromEntries(changed.filter(([, count]) => count > 0));
}

const total = (counts: Record<string, number>) =>
  Object.values(counts).reduce((sum, count) => sum + count, 0);
