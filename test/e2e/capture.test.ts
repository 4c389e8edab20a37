/**
 * `warren capture` as tshark reads it: one echo request on its way through two nodes, in the order in which it passes; what
 * is dropped, with the reason; groups of datagrams as the single ones that they stand for; a sealed tunnel.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { builtFile } from '../../src/package.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

let files = 0;
const folder = mkdtempSync(join(tmpdir(), 'warren-capture-'));
afterAll(() => rmSync(folder, { recursive: true }));

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

    /** What is captured on node-a, or with --all, while `work` runs. */
    async function captured(options: readonly string[], work: () => Promise<unknown>): Promise<Row[]> {
      const file = join(folder, `${++files}.pcapng`);
      const argv = ['capture', '-s', lab.node(0).socket, '--seconds', '30', ...options, '-w', file];
      const child = spawn(process.execPath, [builtFile('bin/warren'), ...argv], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let said = '';
      child.stderr.on('data', (chunk: Buffer) => {
        said += chunk;
      });
      const ended = once(child, 'exit');
      // A node's interfaces are there once it captures.
      const begins = options.includes('--all') ? 'cap-b:warren0-dropped' : 'warren0-dropped';
      while (!(existsSync(file) && readFileSync(file).includes(begins))) await delay(20);
      await work();
      await delay(500);
      child.kill('SIGINT');
      expect([await ended, said]).toEqual([[0, null], expect.stringContaining('bytes')]);
      return read(file);
    }

    test('an echo request passes four places in order, and comes back', async () => {
      const rows = await captured(['--all', '--pod', 'pod-1'], async () => {
        await a.exec(['ping', '-c', '3', '-i', '0.2', b.address(4)]);
      });
      const places = (type: string) =>
        rows.filter((row) => row.icmpType === type && row.sequence === '2').map(({ on }) => on);
      const way = ['cap-a:warren0', 'cap-a:eth0', 'cap-b:eth0', 'cap-b:warren0'];
      const seen = encapsulation === 'wireguard' ? way.filter((on) => on.endsWith('warren0')) : way;
      expect(places('8')).toEqual(seen);
      expect(places('0')).toEqual(seen.toReversed());
    });

    test('the tunnel is shown as what it is, each datagram by itself', async () => {
      const server = b.spawn(['iperf3', '-s', '-1', '-B', b.address(4)], { stdio: 'ignore' });
      await delay(300);
      const sent = async () => (await lab.node(0).view()).status.datapath.outbound.packets;
      let [before, packets] = [0, 0];
      const rows = await captured(['--side', 'outer', '--peer', 'cap-b'], async () => {
        before = await sent();
        await a.exec(['iperf3', '-c', b.address(4), '-n', '2M']);
        packets = (await sent()) - before;
      });
      server.kill();
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
