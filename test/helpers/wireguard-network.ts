/** WireGuard devices on a network in memory, in virtual time. A test decides what becomes of each datagram. */
import { chooseAead } from '../../src/encapsulation/wireguard/choose-aead.ts';
import { Device, type Received } from '../../src/encapsulation/wireguard/device.ts';
import { messageType } from '../../src/encapsulation/wireguard/messages.ts';
import type { Peer } from '../../src/encapsulation/wireguard/peer.ts';
import { Timestamps } from '../../src/encapsulation/wireguard/tai64n.ts';
import { generateKeyPair, type KeyPair } from '../../src/encapsulation/wireguard/x25519.ts';
import { VirtualClock } from '../../src/simulate/virtual-clock.ts';

const LATENCY_MS = 1;

/** One datagram that was on the wire. */
export interface Sent {
  readonly from: number;
  readonly to: number;
  readonly datagram: Buffer;
  /** When, and its type and length: `12.000 a>b 1 148`. */
  readonly line: string;
}

export interface Host {
  readonly number: number;
  readonly own: KeyPair;
  /** Of its handshakes so far. */
  readonly ephemerals: KeyPair[];
  device: Device;
  /** What was delivered, as text; the first byte of a packet is a version that nothing here looks at. */
  readonly delivered: string[];
  /** What became of each datagram, in order. */
  readonly results: Received[];
  readonly failures: unknown[];
  endpoint: Buffer;
  ceilingUs: number | undefined;
}

export class WireguardNetwork {
  readonly clock = new VirtualClock();
  readonly hosts: Host[] = [];
  readonly sent: Sent[] = [];
  /** Whether it arrives; all by default. */
  passes: (sent: Sent) => boolean = () => true;

  add(endpoint = Buffer.from([192, 0, 2, this.hosts.length + 1, 0xca, 0x6c])): Host {
    const host = {
      number: this.hosts.length,
      own: generateKeyPair(),
      ephemerals: [],
      delivered: [],
      results: [],
      failures: [],
      endpoint,
      ceilingUs: undefined,
    } as unknown as Host;
    this.hosts.push(host);
    this.restart(host);
    return host;
  }

  /** The host as after a restart: what it had in memory is gone, its key and its ceiling are not. */
  restart(host: Host): void {
    host.device?.close();
    const store = {
      load: () => host.ceilingUs,
      save: (ceilingUs: number) => {
        host.ceilingUs = ceilingUs;
      },
    };
    host.device = new Device({
      own: host.own,
      clock: this.clock,
      timestamps: new Timestamps(() => this.clock.wallTime(), store),
      engine: chooseAead().engine,
      mtu: 1_420,
      random: () => 0,
      makeKeyPair: () => {
        const made = generateKeyPair();
        host.ephemerals.push(made);
        return made;
      },
      send: (datagram, to) => this.#send(host, datagram, to),
      deliver: (packet) => host.delivered.push(packet.toString('latin1').replace(/\0+$/, '')),
      failed: (error) => host.failures.push(error),
    });
  }

  /** Makes two hosts peers; `a` knows where `b` is, and the other way round if `both`. */
  connect(a: Host, b: Host, presharedKey?: Buffer, both = true): readonly [Peer, Peer] {
    return [
      a.device.addPeer({ publicKey: b.own.publicKey, presharedKey, endpoint: b.endpoint }),
      b.device.addPeer({
        publicKey: a.own.publicKey,
        presharedKey,
        endpoint: both ? a.endpoint : undefined,
      }),
    ];
  }

  /** What was sent since the last call. */
  lines(): string[] {
    return this.sent.splice(0).map(({ line }) => line);
  }

  #send(from: Host, datagram: Buffer, to: Uint8Array): void {
    const target = this.hosts.find(({ endpoint }) => endpoint.equals(to));
    const name = (number: number): string => String.fromCharCode(97 + number);
    const time = (this.clock.now() / 1_000).toFixed(3);
    const sent: Sent = {
      from: from.number,
      to: target?.number ?? -1,
      datagram,
      line: `${time} ${name(from.number)}>${name(target?.number ?? -1)} ${messageType(datagram)} ${datagram.length}`,
    };
    this.sent.push(sent);
    if (target === undefined || !this.passes(sent)) return;
    const source = Buffer.from(from.endpoint);
    this.clock.after(LATENCY_MS, () => target.results.push(target.device.receive(datagram, source)));
  }
}
