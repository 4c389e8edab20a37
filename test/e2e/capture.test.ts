/**
 * `warren capture` as tshark reads it: one echo request on its way through two nodes, in the order in which it passes; what
 * is dropped, with the reason; groups of datagrams as the single ones that they stand for; a sealed tunnel.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { whileListening } from '../../src/bench/listener.ts';
import { BLOCK } from '../../src/capture/pcapng.ts';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { builtFile } from '../../src/package.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

/** For what comes a moment later. */
const WAIT = { timeout: 30_000, interval: 50 };

let files = 0;
const folder = mkdtempSync(join(tmpdir(), 'warren-capture-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Whole packets in a file of pcapng that may still be written. */
function packetsIn(bytes: Buffer): number {
  let packets = 0;
  for (let at = 0; at + 8 <= bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes.readUInt32LE(at) === BLOCK.packet && at + bytes.readUInt32LE(at + 4) <= bytes.length) packets++;
  }
  return packets;
}

/** What tshark is asked for of each packet. */
const FIELDS = [
  'frame.interface_name',
  'frame.comment',
  'frame.len',
  'icmp.type',
  'icmp.seq',
  'wg.type',
  'udp.srcport',
];

interface Row {
  readonly on: string;
  readonly comment: string;
  readonly length: number;
  readonly icmpType: string;
  readonly sequence: string;
  readonly wireguard: string;
  readonly port: string;
}

function read(file: string): Row[] {
  const output = execFileSync(
    'tshark',
    ['-r', file, '-T', 'fields', ...FIELDS.flatMap((field) => ['-e', field])],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const lines = output.split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const [on = '', comment = '', length = '', icmpType = '', sequence = '', wireguard = '', port = ''] =
      line.split('\t');
    return { on, comment, length: Number(length), icmpType, sequence, wireguard, port };
  });
}

describeUnless(lacking('root', 'ip', 'nsenter', 'tshark', 'ping', 'iperf3'), 'warren capture', () => {
  describe.each(['vxlan-gpe', 'wireguard'] as const)('over %s', (encapsulation) => {
    let lab: Lab;
    let a: LabPod;
    let b: LabPod;

    beforeAll(async () => {
      const config = () => ({ api: { remoteCapture: true } });
      lab = await Lab.up({ encapsulation, name: 'cap', nodes: 2, pods: 1, config });
      [a, b] = [await lab.pod(0, 'pod-1'), await lab.pod(1, 'pod-1')];
    });
    afterAll(() => lab?.down());

    /**
     * What is captured on node-a, or with --all, while `work` runs; it answers how many packets that are at least, and they
     * are waited for.
     */
    async function captured(options: readonly string[], work: () => Promise<number>): Promise<Row[]> {
      const file = join(folder, `${++files}.pcapng`);
      const argv = ['capture', '-s', lab.node(0).socket, '--seconds', '60', ...options, '-w', file];
      const child = spawn(process.execPath, [builtFile('bin/warren'), ...argv], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      onTestFinished(() => void child.kill('SIGKILL'));
      let said = '';
      child.stderr.on('data', (chunk: Buffer) => {
        said += chunk;
      });
      const ended = once(child, 'close');
      // A node's interfaces are there once it captures.
      const begins = options.includes('--all') ? 'cap-b:warren0-dropped' : 'warren0-dropped';
      await expect.poll(() => existsSync(file) && readFileSync(file).includes(begins), WAIT).toBe(true);
      const packets = await work();
      await expect.poll(() => packetsIn(readFileSync(file)), WAIT).toBeGreaterThanOrEqual(packets);
      child.kill('SIGINT');
      expect([await ended, said]).toEqual([[0, null], expect.stringContaining('bytes')]);
      return read(file);
    }

    test('an echo request passes four places in order, and comes back', async () => {
      const way = ['cap-a:warren0', 'cap-a:eth0', 'cap-b:eth0', 'cap-b:warren0'];
      const seen = encapsulation === 'wireguard' ? way.filter((on) => on.endsWith('warren0')) : way;
      const rows = await captured(['--all', '--pod', 'pod-1'], async () => {
        await a.exec(['ping', '-c', '3', '-i', '0.2', b.address(4)]);
        return 3 * 2 * seen.length;
      });
      const places = (type: string) =>
        rows.filter((row) => row.icmpType === type && row.sequence === '2').map(({ on }) => on);
      expect(places('8')).toEqual(seen);
      expect(places('0')).toEqual(seen.toReversed());
    });

    test('the tunnel is shown as what it is, each datagram by itself', async () => {
      const server = ['iperf3', '-s', '-1', '-B', b.address(4), '--forceflush'];
      const sent = async () => (await lab.node(0).view()).status.datapath.outbound.packets;
      let [before, packets] = [0, 0];
      const rows = await captured(['--side', 'outer', '--peer', 'cap-b'], async () => {
        before = await sent();
        await whileListening(b, server, 'listening', () =>
          a.exec(['iperf3', '-c', b.address(4), '-n', '2M']),
        );
        packets = (await sent()) - before;
        return packets;
      });
      expect(packets).toBeGreaterThan(500);
      expect(rows.length).toBeGreaterThanOrEqual(packets);
      for (const { on, length } of rows) {
        expect(on).toBe('eth0');
        expect(length).toBeLessThanOrEqual(1514);
      }
      if (encapsulation === 'wireguard') {
        expect(rows.filter(({ wireguard }) => wireguard === '4').length).toBeGreaterThanOrEqual(packets);
      }
    });

    test('what is dropped is there with its reason', async () => {
      const rows = await captured(['--side', 'dropped'], async () => {
        await a.exec(['ping', '-c', '2', '-i', '0.2', '-W', '1', '10.42.251.7']).catch(() => {});
        // Nobody knows this sender, nor this session.
        const from = await lab.addHost('stranger');
        const isSealed = encapsulation === 'wireguard';
        const datagram = isSealed ? `04${'0'.repeat(62)}` : '0c00000100002a00';
        const to = `${isSealed ? 51820 : 4790}, '${lab.node(0).underlayAddress}'`;
        const program = `require('dgram').createSocket('udp4')
          .send(Buffer.from('${datagram}', 'hex'), ${to}, () => process.exit())`;
        await from.exec([process.execPath, '-e', program]);
        return 3;
      });
      const noRoute = rows.filter(({ comment }) => comment === 'dropped: outbound-no-route');
      expect(noRoute.map(({ on, icmpType }) => [on, icmpType])).toEqual([
        ['warren0-dropped', '8'],
        ['warren0-dropped', '8'],
      ]);
      const strange = rows.filter(({ comment }) => comment.startsWith('dropped: inbound-'));
      expect(strange.map(({ on }) => on)).toContain('warren0-dropped');
      expect(strange[0]!.port).toMatch(/^\d+/);
    });
  });
});
