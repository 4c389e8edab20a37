/**
 * What a peer receives is the same whether its sender has all offloads or none: the same data sent from a node of
 * each kind, captured on the receiver's side of the underlay as it would be on a wire, and compared packet by packet.
 * Where a TCP stream was cut may differ; nothing else may. Every checksum in the captures is complete and right,
 * for the receiver has announced that it wants them so.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { namedNetnsPath } from '../../src/host/netns.ts';
import { addressBytes, parseAddress } from '../../src/ip/address.ts';
import { LabNamespace, type LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { bridgeNamespace } from '../../src/lab/names.ts';
import { captureWhile } from '../helpers/capture.ts';
import { checkTransport, type IpPacket, readIp, readTunnel } from '../helpers/pcap.ts';
import { type Listener, Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { ACK, FIN, PSH, SYN } from '../helpers/transport-packets.ts';

const NAME = 'wire';
const VNI = 42;
const [WITH_OFFLOADS, WITHOUT_OFFLOADS, RECEIVER] = [0, 1, 2];
/** A lab's third node. */
const RECEIVER_PORT = 'port3';
const ETHERNET_FRAME_BYTES = 14 + 1500;

const STREAM_BYTES = 3_000_000;
const UDP_SIZES = [0, 1, 2, 3, 7, 8, 64, 99, 100, 511, 512, 1000, 1001, 1399, 1400, 1415, 1416];
/** Segments and bytes of each: a superpacket's last segment is half as long. */
const UDP_SUPERPACKETS = [
  [40, 1400],
  [44, 100],
  [2, 1416],
  [30, 1001],
] as const;
const SOURCE_PORT = 7777;
/** So that the end of a capture is known. */
const LAST = Buffer.from('and this is the last datagram');

describeUnless(lacking('root', 'ip', 'nsenter', 'tcpdump'), 'the wire', () => {
  const probes: Probe[] = [];
  let lab: Lab;
  let pods: LabPod[];

  beforeAll(async () => {
    lab = await Lab.up({
      encapsulation: 'vxlan-gpe',
      name: NAME,
      nodes: 3,
      pods: 1,
      config: (node, nodes) => {
        if (node === nodes[WITHOUT_OFFLOADS]) return { datapath: { offload: 'off' } };
        if (node === nodes[RECEIVER]) return { datapath: { offload: { checksum: false } } };
        return {};
      },
    });
    pods = await Promise.all(lab.nodes.map(({ name }) => lab.pod(name, 'pod-1')));
    // What goes out of the bridge's port is cut and completed by the kernel, as by a network card.
    await startProbe(new LabNamespace(namedNetnsPath(bridgeNamespace(NAME)))).disableTransmitOffload(
      RECEIVER_PORT,
    );
  });
  afterAll(async () => {
    for (const probe of probes) probe.stop();
    await lab?.down();
  });

  function startProbe(namespace: LabNamespace): Probe {
    const probe = new Probe(namespace);
    probes.push(probe);
    return probe;
  }

  /** Inner packets that reach the receiver's node from `sender` while it sends the same as every sender does. */
  async function capture(
    sender: number,
    family: 4 | 6,
    receiver: Probe,
    echo: Listener,
  ): Promise<IpPacket[]> {
    const probe = startProbe(pods[sender]!);
    const [from, to] = [pods[sender]!.address(family), pods[RECEIVER]!.address(family)];
    const filter = `udp dst port 4790 and src host ${lab.node(sender).underlayAddress}`;
    const what = { namespace: lab.node(RECEIVER), device: 'eth0', filter, lastBytes: LAST };
    // On a busy machine the sender's own queues lose a packet now and then, and TCP repeats it.
    const isWhole = (frames: readonly Buffer[]) => !hasRepeats(readTunnel(frames, VNI).map(readIp));
    const frames = await captureWhile({ ...what, isWhole }, async () => {
      const source = { host: from, port: SOURCE_PORT };
      await probe.udpSend(
        source,
        echo,
        UDP_SIZES.map((bytes) => new Uint8Array(bytes).fill(bytes & 0xff)),
      );
      for (const [segments, bytes] of UDP_SUPERPACKETS) {
        expect(await probe.udpSegments(from, echo, segments, bytes, 'the same')).toBe(segments);
      }
      const listener = await receiver.receiver(to);
      const { receipt } = await probe.transfer(listener, STREAM_BYTES, 'the same');
      expect(receipt.bytes).toBe(STREAM_BYTES);
      await probe.udpSend(source, echo, [LAST]);
    });
    for (const frame of frames) expect(frame.length).toBeLessThanOrEqual(ETHERNET_FRAME_BYTES);
    const packets = readTunnel(frames, VNI).map(readIp);
    // Agents look meanwhile whether their groups arrive.
    const pod = Buffer.from(addressBytes(parseAddress(from))).toString('hex');
    const fromPod = packets.filter(
      ({ source, protocol }) => source === pod && (protocol === 6 || protocol === 17),
    );
    for (const packet of fromPod) checkTransport(packet);
    return fromPod;
  }

  test('the two senders are what they should be', async () => {
    const offloads = async (node: number) =>
      Object.values((await lab.node(node).view()).status.datapath.offloads);
    expect(new Set(await offloads(WITH_OFFLOADS))).toEqual(new Set([true]));
    expect(new Set(await offloads(WITHOUT_OFFLOADS))).toEqual(new Set([false]));
  });

  describe.each([4, 6] as const)('IPv%i', (family) => {
    let seen: { with: IpPacket[]; without: IpPacket[] };

    beforeAll(async () => {
      const receiver = startProbe(pods[RECEIVER]!);
      const echo = await receiver.udpEcho(pods[RECEIVER]!.address(family));
      seen = {
        with: await capture(WITH_OFFLOADS, family, receiver, echo),
        without: await capture(WITHOUT_OFFLOADS, family, receiver, echo),
      };
    });

    test('the same datagrams, header by header and byte by byte', () => {
      const expected = UDP_SIZES.length + UDP_SUPERPACKETS.reduce((sum, [segments]) => sum + segments, 0) + 1;
      const [a, b] = [datagrams(seen.with), datagrams(seen.without)];
      expect(a).toHaveLength(expected);
      expect(a).toEqual(b);
    });

    test('the same stream, under headers that differ in nothing but where it was cut', () => {
      const [a, b] = [readStream(seen.with), readStream(seen.without)];
      expect(a.bytes).toBe(STREAM_BYTES);
      expect(a).toEqual(b);
    });
  });
});

/**
 * All that is to be the same of each datagram, in order; what is not is where it is from, and the checksums. The
 * kernel picks the identification of a send (ip_select_ident): from there on those of its segments count.
 */
function datagrams(packets: readonly IpPacket[]): string[] {
  const firstIds = new Map<number, number>();
  return packets
    .filter(({ protocol }) => protocol === 17)
    .map(({ commonHeader, id, payload }) => {
      expect(payload.readUInt16BE(4)).toBe(payload.length);
      const [source, port] = [payload.readUInt16BE(0), payload.readUInt16BE(2)];
      const text = `${port} ${payload.length} ${payload.toString('hex', 8)}`;
      if (source === SOURCE_PORT) return `${commonHeader} alone ${source} ${text}`;
      // Every superpacket comes from a port of its own.
      const first = firstIds.get(source) ?? id;
      firstIds.set(source, first);
      return `${commonHeader} ${(id - first) & 0xffff} ${text}`;
    });
}

interface Stream {
  readonly bytes: number;
  readonly sha256: string;
  /** Of SYN: header, flags and window, options without the time. */
  readonly opening: string;
  /** Of all that follows: header, header length, urgent pointer, option kinds. */
  readonly headers: readonly string[];
  readonly longestBytes: number;
  /** Identifications between the first and the last that no packet has, or more than one (IPv4). */
  readonly idGaps: number;
}

/** Whether TCP sent anything a second time: where it did, streams differ in more than where they were cut. */
function hasRepeats(packets: readonly IpPacket[]): boolean {
  let next: number | undefined;
  for (const { protocol, payload: tcp } of packets) {
    if (protocol !== 6) continue;
    const sequence = tcp.readUInt32BE(4);
    const flags = tcp[13]!;
    const bytes = tcp.length - (tcp[12]! >> 4) * 4 + ((flags & (SYN | FIN)) !== 0 ? 1 : 0);
    if (next !== undefined && bytes > 0 && sequence !== next) return true;
    if (bytes > 0) next = (sequence + bytes) >>> 0;
  }
  return false;
}

/** Puts the only TCP stream among `packets` together by its sequence numbers. */
function readStream(packets: readonly IpPacket[]): Stream {
  const segments = packets.filter(({ protocol }) => protocol === 6);
  const [syn, ...rest] = segments;
  if (syn === undefined || (syn.payload[13]! & SYN) === 0) throw new Error('the stream has no beginning');
  const first = syn.payload.readUInt32BE(4) + 1;
  const content = Buffer.alloc(STREAM_BYTES);
  const present = new Uint8Array(STREAM_BYTES);
  const headers = new Set<string>();
  let longestBytes = 0;
  let end = -1;
  for (const { commonHeader, payload: tcp } of rest) {
    const headerBytes = (tcp[12]! >> 4) * 4;
    const flags = tcp[13]!;
    const at = (tcp.readUInt32BE(4) - first) >>> 0;
    const data = tcp.subarray(headerBytes);
    expect(flags & ~(PSH | FIN)).toBe(ACK);
    data.copy(content, at);
    present.fill(1, at, at + data.length);
    if ((flags & FIN) !== 0) end = at + data.length;
    longestBytes = Math.max(longestBytes, data.length);
    const kinds = optionsOf(tcp.subarray(20, headerBytes)).map(([kind]) => kind);
    headers.add(`${commonHeader} ${headerBytes} ${tcp.readUInt16BE(18)} ${kinds.join()}`);
  }
  expect(present.every((there) => there === 1)).toBe(true);
  // Where the other side repeats its FIN, what answers is no socket any more (TIME-WAIT), and counts no packets.
  const isFromNoSocket = ({ id, payload }: IpPacket) =>
    id === 0 && (payload.readUInt32BE(4) - first) >>> 0 > end && payload[13] === ACK;
  const counted = segments.filter((packet) => !isFromNoSocket(packet));
  const synOptions = optionsOf(syn.payload.subarray(20)).map(([kind, value]) =>
    kind === 8 ? '8' : `${kind} ${value}`,
  );
  return {
    bytes: end,
    sha256: createHash('sha256').update(content).digest('hex'),
    opening: `${syn.commonHeader} ${syn.payload.toString('hex', 12, 16)} ${synOptions.join()}`,
    headers: [...headers],
    longestBytes,
    idGaps: syn.commonHeader.startsWith('45') ? gapsIn(counted.map(({ id }) => (id - syn.id) & 0xffff)) : 0,
  };
}

/** How many steps from one number to the next, in order of size, are not one. */
function gapsIn(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted.filter((number, i) => i > 0 && number !== sorted[i - 1]! + 1).length;
}

/** Kind and value of each TCP option (RFC 9293, section 3.1). */
function optionsOf(options: Buffer): [number, string][] {
  const found: [number, string][] = [];
  for (let at = 0; at < options.length; ) {
    const kind = options[at]!;
    const bytes = kind <= 1 ? 1 : options[at + 1]!;
    found.push([kind, options.toString('hex', at + 2, at + bytes)]);
    at += bytes;
  }
  return found;
}
