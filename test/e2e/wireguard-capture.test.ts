/**
 * What our WireGuard sends, as Wireshark's own decoder sees it with the keys: each handshake, and each packet in each
 * datagram. The datagrams are those of devices in memory, written as a capture.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { KeyPair } from '../../src/encapsulation/wireguard/x25519.ts';
import { echoRequest } from '../helpers/echo.ts';
import { ipv4Packet } from '../helpers/packets.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { type Host, type Sent, WireguardNetwork } from '../helpers/wireguard-network.ts';

describeUnless(lacking('tshark'), 'tshark', () => {
  const folder = mkdtempSync(join(tmpdir(), 'warren-wireguard-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  describe.each([
    { keys: 'no pre-shared key', presharedKey: undefined },
    { keys: 'a pre-shared key', presharedKey: Buffer.alloc(32, 0x5a) },
  ])('with $keys', ({ presharedKey }) => {
    const network = new WireguardNetwork();
    const [a, b] = [network.add(), network.add()];
    const [toB, toA] = network.connect(a, b, presharedKey);
    for (let sequence = 1; sequence <= 6; sequence++) {
      toB.send(echoRequest('10.9.0.1', '10.9.0.2', sequence, 80 + sequence));
      toA.send(echoRequest('fd09::2', 'fd09::1', 100 + sequence, 200 + sequence));
      network.clock.advance(60_000);
    }

    it('opens every handshake and every datagram, over a new session too', () => {
      const rows = decode(network, [a, b], presharedKey);
      expect(rows.length).toBe(network.sent.length);
      const ofType = (type: string) => rows.filter((row) => row.type === type);
      expect(ofType('1').length).toBeGreaterThanOrEqual(3);
      expect(ofType('2').length).toBe(ofType('1').length);
      for (const { handshakeOk, staticKnown } of ofType('1')) {
        expect(handshakeOk).toBe('');
        expect(['True', '1']).toContain(staticKnown);
      }
      for (const { handshakeOk } of ofType('2')) expect(['True', '1']).toContain(handshakeOk);
      const inner = ofType('4')
        .map(({ echo4, echo6 }) => echo4 || echo6)
        .filter(Boolean);
      expect(inner.map(Number).sort((x, y) => x - y)).toEqual([
        1, 2, 3, 4, 5, 6, 101, 102, 103, 104, 105, 106,
      ]);
    });
  });

  function decode(network: WireguardNetwork, hosts: readonly Host[], presharedKey: Buffer | undefined) {
    const capture = join(folder, 'capture.pcap');
    const keys = join(folder, 'keys');
    writeFileSync(capture, pcap(network));
    writeFileSync(keys, keyLog(hosts, presharedKey));
    const fields = [
      'wg.type',
      'wg.static.known_pubkey',
      'wg.handshake_ok',
      'icmp.seq',
      'icmpv6.echo.sequence_number',
    ];
    const output = execFileSync(
      'tshark',
      [
        '-r',
        capture,
        '-o',
        `wg.keylog_file:${keys}`,
        '-T',
        'fields',
        ...fields.flatMap((field) => ['-e', field]),
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    );
    return output
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [type = '', staticKnown = '', handshakeOk = '', echo4 = '', echo6 = ''] = line.split('\t');
        return { type, staticKnown, handshakeOk, echo4, echo6 };
      });
  }
});

/** What Wireshark takes as keys: https://wiki.wireshark.org/WireGuard. */
function keyLog(hosts: readonly Host[], presharedKey: Buffer | undefined): string {
  const text = (pair: KeyPair) => {
    const { d } = pair.privateKey.export({ format: 'jwk' });
    return Buffer.from(d!, 'base64url').toString('base64');
  };
  const lines: string[] = [];
  for (const [at, { own, ephemerals }] of hosts.entries()) {
    lines.push(`LOCAL_STATIC_PRIVATE_KEY = ${text(own)}`);
    lines.push(`REMOTE_STATIC_PUBLIC_KEY = ${hosts[1 - at]!.own.publicKey.toString('base64')}`);
    for (const ephemeral of ephemerals) {
      lines.push(`LOCAL_EPHEMERAL_PRIVATE_KEY = ${text(ephemeral)}`);
      if (presharedKey !== undefined) lines.push(`PRESHARED_KEY = ${presharedKey.toString('base64')}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** A capture of link type 101, bare IP packets. */
function pcap(network: WireguardNetwork): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65_535, 16);
  header.writeUInt32LE(101, 20);
  const records = network.sent.map((sent, index) => {
    const packet = onTheWire(network, sent);
    const record = Buffer.alloc(16);
    record.writeUInt32LE(index, 0);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    return Buffer.concat([record, packet]);
  });
  return Buffer.concat([header, ...records]);
}

function onTheWire({ hosts }: WireguardNetwork, { from, to, datagram }: Sent): Buffer {
  const [source, destination] = [hosts[from]!.endpoint, hosts[to]!.endpoint];
  const dotted = (endpoint: Buffer) => endpoint.subarray(0, 4).join('.');
  const packet = Buffer.from(
    ipv4Packet(dotted(source), dotted(destination), { bytes: 28 + datagram.length }),
  );
  source.copy(packet, 20, 4);
  destination.copy(packet, 22, 4);
  packet.writeUInt16BE(8 + datagram.length, 24);
  packet.writeUInt16BE(0, 26);
  datagram.copy(packet, 28);
  return packet;
}
