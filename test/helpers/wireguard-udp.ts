/** Our WireGuard, driven over a plain UDP socket of this process: it answers pings, and sends some. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { chooseAead } from '../../src/encapsulation/wireguard/choose-aead.ts';
import { Device, type Received } from '../../src/encapsulation/wireguard/device.ts';
import type { Peer, PeerOptions } from '../../src/encapsulation/wireguard/peer.ts';
import { Timestamps } from '../../src/encapsulation/wireguard/tai64n.ts';
import type { KeyPair } from '../../src/encapsulation/wireguard/x25519.ts';
import { addressFromBytes, formatAddress } from '../../src/ip/address.ts';
import { VirtualClock } from '../../src/simulate/virtual-clock.ts';
import { echoAnswer, echoReplySequence, endpointBytes, trimmed } from './echo.ts';

const TICK_MS = 5;

export class WireguardUdp {
  /** Goes with the real one, and jumps where a test says so. */
  readonly clock = new VirtualClock();
  readonly device: Device;
  readonly results: Received[] = [];
  /** Types of the messages that came and went, such as `<1`. */
  readonly messages: string[] = [];
  readonly replies = new Set<number>();
  readonly #socket: Socket;
  readonly #ticking: NodeJS.Timeout;
  #peer: Peer | undefined;
  #heard: (() => void)[] = [];
  #closed = false;

  /** `ceilingUs`: what the timestamps of a run before this one were below. */
  constructor(own: KeyPair, family: 4 | 6, ceilingUs: number | undefined = undefined) {
    this.#socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    let last = performance.now();
    this.#ticking = setInterval(() => {
      const now = performance.now();
      this.clock.advance(now - last);
      last = now;
    }, TICK_MS);
    const startMs = Date.now();
    this.device = new Device({
      own,
      clock: this.clock,
      timestamps: new Timestamps(() => startMs + this.clock.now(), {
        load: () => ceilingUs,
        save: () => {},
      }),
      engine: chooseAead().engine,
      mtu: 1_420,
      send: (datagram, to) => {
        this.messages.push(`>${datagram[0]}`);
        const address = formatAddress(addressFromBytes(to.subarray(0, -2)));
        this.#socket.send(datagram, (to.at(-2)! << 8) | to.at(-1)!, address);
      },
      deliver: (packet, peer) => {
        const inner = trimmed(packet);
        const answer = echoAnswer(inner);
        if (answer !== undefined) peer.send(answer);
        const sequence = echoReplySequence(inner);
        if (sequence !== undefined) this.replies.add(sequence);
      },
      failed: (error) => {
        throw error;
      },
    });
    this.#socket.on('message', (datagram, { address, port }) => {
      this.messages.push(`<${datagram[0]}`);
      this.results.push(this.device.receive(datagram, endpointBytes(address, port)));
      for (const heard of this.#heard.splice(0)) heard();
    });
  }

  async bind(address: string, port: number): Promise<void> {
    this.#socket.bind(port, address);
    await once(this.#socket, 'listening');
  }

  addPeer(options: PeerOptions): Peer {
    this.#peer = this.device.addPeer(options);
    return this.#peer;
  }

  /** Waits until `holds`, which is looked at after each datagram that comes. */
  async until(holds: () => boolean, what: string, limitMs = 10_000): Promise<void> {
    const end = performance.now() + limitMs;
    while (!holds()) {
      const leftMs = end - performance.now();
      if (leftMs <= 0) throw new Error(`not within ${limitMs} ms: ${what}; ${this.messages.join(' ')}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#heard.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Once or more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#ticking);
    this.device.close();
    this.#socket.close();
  }
}
