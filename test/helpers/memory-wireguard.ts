/** An ordinary WireGuard device on a network in memory, made from the file that it was given. */
import type { Clock } from '../../src/clock.ts';
import { chooseAead } from '../../src/encapsulation/wireguard/choose-aead.ts';
import { Device } from '../../src/encapsulation/wireguard/device.ts';
import type { Peer } from '../../src/encapsulation/wireguard/peer.ts';
import { Timestamps } from '../../src/encapsulation/wireguard/tai64n.ts';
import { keyPairOf } from '../../src/encapsulation/wireguard/x25519.ts';
import { addressBytes, addressFromBytes } from '../../src/ip/address.ts';
import { type Endpoint, parseEndpoint } from '../../src/ip/endpoint.ts';
import { answerTo, pathProbe } from './memory-echoes.ts';
import { ipv4Packet, ipv6Packet } from './packets.ts';

/** The values of a wg-quick file by `Section.Key`, those with several as they stand there. */
export function readQuickFile(text: string): Readonly<Record<string, string>> {
  const values: Record<string, string> = {};
  let section = '';
  for (const line of text.split('\n')) {
    section = /^\[(\w+)\]$/.exec(line)?.[1] ?? section;
    const [, key, value] = /^(\w+) = (.+)$/.exec(line) ?? [];
    if (key !== undefined) values[`${section}.${key}`] = value!;
  }
  return values;
}

export interface MemoryWireguardOptions {
  readonly file: string;
  /** If the file has none. */
  readonly privateKey?: Uint8Array;
  readonly clock: Clock;
  /** Where it is on the underlay. */
  readonly endpoint: Endpoint;
  readonly send: (from: Endpoint, to: Endpoint, datagram: Uint8Array) => void;
}

export class MemoryWireguard {
  /** Inner packets. */
  readonly received: Uint8Array[] = [];
  readonly addresses: readonly string[];
  endpoint: Endpoint;
  readonly #device: Device;
  readonly #peer: Peer;

  constructor({ file, privateKey, clock, endpoint, send }: MemoryWireguardOptions) {
    const values = readQuickFile(file);
    const bytes = (key: string) => new Uint8Array(Buffer.from(values[key]!, 'base64'));
    this.endpoint = endpoint;
    this.addresses = values['Interface.Address']!.split(', ').map((one) => one.split('/')[0]!);
    let ceilingUs: number | undefined;
    this.#device = new Device({
      own: keyPairOf(privateKey ?? bytes('Interface.PrivateKey')),
      clock,
      timestamps: new Timestamps(() => clock.wallTime(), {
        load: () => ceilingUs,
        save: (us) => (ceilingUs = us),
      }),
      engine: chooseAead().engine,
      mtu: Number(values['Interface.MTU']),
      random: () => 0,
      send: (datagram, to) => send(this.endpoint, endpointOf(to), datagram),
      deliver: (packet) => this.#take(Uint8Array.from(packet)),
      failed: (error) => {
        throw error;
      },
    });
    this.#peer = this.#device.addPeer({
      publicKey: bytes('Peer.PublicKey'),
      presharedKey: values['Peer.PresharedKey'] === undefined ? undefined : bytes('Peer.PresharedKey'),
      endpoint: bytesOf(parseEndpoint(values['Peer.Endpoint']!)),
      persistentKeepaliveMs: 1000 * Number(values['Peer.PersistentKeepalive']),
    });
  }

  /** A datagram has come. */
  take(from: Endpoint, datagram: Uint8Array): void {
    this.#device.receive(Buffer.from(datagram), bytesOf(from));
  }

  send(to: string, options: { readonly source?: string; readonly bytes?: number } = {}): Uint8Array {
    const isV6 = to.includes(':');
    const source = options.source ?? this.addresses.find((one) => one.includes(':') === isV6)!;
    const size = options.bytes === undefined ? {} : { bytes: options.bytes };
    const packet = isV6 ? ipv6Packet(source, to, size) : ipv4Packet(source, to, size);
    this.#peer.send(packet);
    return packet;
  }

  /** Its kernel answers echoes, as most do. */
  #take(packet: Uint8Array): void {
    const echo = pathProbe(packet);
    if (echo?.isRequest) this.#peer.send(answerTo(packet));
    else this.received.push(packet);
  }

  close(): void {
    this.#device.close();
  }
}

function endpointOf(bytes: Uint8Array): Endpoint {
  const buffer = Buffer.from(bytes);
  return { address: addressFromBytes(buffer.subarray(0, -2)), port: buffer.readUInt16BE(buffer.length - 2) };
}

function bytesOf({ address, port }: Endpoint): Uint8Array {
  const bytes = Buffer.concat([addressBytes(address), Buffer.alloc(2)]);
  bytes.writeUInt16BE(port, bytes.length - 2);
  return new Uint8Array(bytes);
}
