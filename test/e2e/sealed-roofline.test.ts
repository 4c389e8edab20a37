/** bench/sealed-roofline.c speaks WireGuard's transport data: it is read and answered here by node:crypto. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CompiledPrograms, compilePrograms } from '../../src/bench/compile.ts';
import { enterOwnNetns } from '../helpers/own-netns.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const PORT = 51821;
const HEADER_BYTES = 16;
const TAG_BYTES = 16;

/** Of 16-bit words, folded: 0xffff over what holds its own checksum. */
function sum(bytes: Uint8Array): number {
  const view = Buffer.from(bytes);
  let total = 0;
  for (let i = 0; i + 1 < view.length; i += 2) total += view.readUInt16BE(i);
  if (view.length % 2 === 1) total += view[view.length - 1]! << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

function nonceOf(counter: bigint): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(counter, 4);
  return nonce;
}

const LACKING = existsSync('/usr/include/openssl/evp.h')
  ? lacking('root', 'ip', 'ping', 'gcc', 'python3')
  : 'needs libssl-dev, to build it';

describeUnless(LACKING, 'the sealed roofline', () => {
  const [sendKey, receiveKey] = [randomBytes(32), randomBytes(32)];
  let programs: CompiledPrograms & { remove(): void };
  let program: ChildProcess;
  let peer: Socket;

  beforeAll(async () => {
    programs = await compilePrograms();
    const built = programs.sealedRoofline;
    if ('missing' in built) throw new Error(built.missing);
    enterOwnNetns();
    peer = createSocket('udp4');
    peer.bind(PORT, '127.0.0.2');
    await once(peer, 'listening');
    const keys = [sendKey.toString('hex'), receiveKey.toString('hex')];
    program = spawn(built.path, ['sealroof0', '127.0.0.1', '127.0.0.2', String(PORT), '1440', ...keys]);
    await once(program.stdout!, 'data');
    const ip = (...words: string[]) => execFileSync('ip', words);
    ip('address', 'add', '10.77.0.1/24', 'dev', 'sealroof0');
    ip('link', 'set', 'dev', 'sealroof0', 'mtu', '1440', 'up');
  });
  afterAll(async () => {
    program?.kill();
    peer?.close();
    programs?.remove();
  });

  function open(datagram: Buffer): { readonly packet: Buffer; readonly counter: bigint } {
    expect(datagram.readUInt32LE(0)).toBe(4);
    const counter = datagram.readBigUInt64LE(8);
    const sealed = datagram.subarray(HEADER_BYTES, -TAG_BYTES);
    const cipher = createDecipheriv('chacha20-poly1305', sendKey, nonceOf(counter), {
      authTagLength: TAG_BYTES,
    });
    cipher.setAuthTag(datagram.subarray(-TAG_BYTES));
    const padded = Buffer.concat([cipher.update(sealed), cipher.final()]);
    expect(padded.length % 16).toBe(0);
    const packet = padded.subarray(0, padded.readUInt16BE(2));
    expect(padded.subarray(packet.length)).toEqual(Buffer.alloc(padded.length - packet.length));
    expect(sum(packet.subarray(0, 20))).toBe(0xffff);
    return { packet, counter };
  }

  function seal(packet: Buffer, counter: bigint): Buffer {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32LE(4, 0);
    header.writeUInt32LE(1, 4);
    header.writeBigUInt64LE(counter, 8);
    const cipher = createCipheriv('chacha20-poly1305', receiveKey, nonceOf(counter), {
      authTagLength: TAG_BYTES,
    });
    const sealed = [cipher.update(packet), cipher.final()];
    return Buffer.concat([header, ...sealed, cipher.getAuthTag()]);
  }

  /** The next packet that is of this protocol: hosts say something of their own on a new device. */
  async function nextOf(protocol: number): Promise<{ readonly packet: Buffer; readonly counter: bigint }> {
    for (;;) {
      const [datagram] = (await once(peer, 'message')) as [Buffer];
      const opened = open(datagram);
      if (opened.packet[0] === 0x45 && opened.packet[9] === protocol) return opened;
    }
  }

  function echoReply(request: Buffer): Buffer {
    const reply = Buffer.from(request);
    request.copy(reply, 12, 16, 20);
    request.copy(reply, 16, 12, 16);
    reply[20] = 0;
    reply.writeUInt16BE(0, 22);
    reply.writeUInt16BE(~sum(reply.subarray(20)) & 0xffff, 22);
    return reply;
  }

  test('a ping leaves sealed, and its answer is opened; one that was changed on the way is not', async () => {
    const answering = async (change: (datagram: Buffer) => void, waitSeconds = '1') => {
      const ping = promisify(execFile)('ping', ['-c', '1', '-W', waitSeconds, '-s', '101', '10.77.0.2']).then(
        () => true,
        () => false,
      );
      const { packet, counter } = await nextOf(1);
      expect(packet.length).toBe(20 + 8 + 101);
      const datagram = seal(echoReply(packet), counter);
      change(datagram);
      peer.send(datagram, PORT, '127.0.0.1');
      return ping;
    };
    expect(await answering(() => {}, '10')).toBe(true);
    expect(await answering((datagram) => (datagram[40]! ^= 1))).toBe(false);
    expect(await answering((datagram) => (datagram[8]! ^= 1))).toBe(false);
  });

  function isWhole(packet: Buffer): boolean {
    const pseudo = Buffer.concat([packet.subarray(12, 20), Buffer.from([0, 17]), packet.subarray(24, 26)]);
    return packet.readUInt16BE(26) !== 0 && sum(Buffer.concat([pseudo, packet.subarray(20)])) === 0xffff;
  }

  test('what the host leaves to be summed is complete, in a lone packet and in segments of a larger one', async () => {
    const content = randomBytes(2333);
    // UDP_SEGMENT (103) at level 17: the host hands over one packet of three segments, or the three.
    const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(bytes.fromhex('${content.subarray(0, 333).toString('hex')}'), ('10.77.0.2', 9))
s.setsockopt(17, 103, 1000)
s.sendto(bytes.fromhex('${content.toString('hex')}'), ('10.77.0.2', 9))
`;
    const packets: Buffer[] = [];
    const received = new Promise<void>((resolve) => {
      peer.on('message', (datagram) => {
        const { packet } = open(datagram);
        if (packet[0] === 0x45 && packet[9] === 17 && packet.readUInt16BE(22) === 9) packets.push(packet);
        if (packets.length === 4) resolve();
      });
    });
    execFileSync('python3', ['-c', script]);
    await received;
    expect(packets.map(isWhole)).toEqual([true, true, true, true]);
    const [lone, ...segments] = packets.map((packet) => packet.subarray(28));
    expect(lone).toEqual(content.subarray(0, 333));
    expect(segments.map(({ length }) => length)).toEqual([1000, 1000, 333]);
    expect(Buffer.concat(segments)).toEqual(content);
  });
});
