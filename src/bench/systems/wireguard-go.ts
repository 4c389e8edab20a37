/**
 * WireGuard in user space (Debian: wireguard-go). It is set up through its own control socket, so that
 * wireguard-tools is not needed (https://www.wireguard.com/xplatform/).
 */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { notInstalled, programVersion } from '../programs.ts';
import type { System } from '../system.ts';

const PACKAGE = 'wireguard-go';
/** Control sockets lie in the machine's own file system, so each end has a device name of its own. */
const DEVICES = ['wgbencha', 'wgbenchb'] as const;
const SOCKET_FOLDER = '/var/run/wireguard';
const PORT = 51820;
/** 1500 less outer IPv4 and UDP (28), type, index and counter (16), tag (16), rounded as wireguard-go does. */
const MTU_BYTES = 1420;
const CONTROL_TIMEOUT_MS = 5_000;

interface KeyPair {
  /** Hexadecimal, as the control protocol has it. */
  readonly privateKey: string;
  readonly publicKey: string;
}

export const wireguardGo: System = {
  id: 'wireguard-go',
  title: 'wireguard-go',
  role: 'userspace',
  encrypted: true,
  unavailable: () => notInstalled([PACKAGE], PACKAGE),
  async start(stage) {
    const keys = [generateKeys(), generateKeys()] as const;
    const processes = [];
    for (const [index, node] of stage.nodes.entries()) {
      const device = DEVICES[index]!;
      const socket = `${SOCKET_FOLDER}/${device}.sock`;
      if (existsSync(socket)) rmSync(socket);
      const env = { LOG_LEVEL: 'error', WG_PROCESS_FOREGROUND: '1' };
      const daemon = stage.startDaemon(node, [PACKAGE, '--foreground', device], env);
      stage.onDown(() => rmSync(socket, { force: true }));
      processes.push(daemon);
      await stage.awaitDevice(node, device, daemon);
      const other = index === 0 ? 1 : 0;
      await configure(socket, [
        `private_key=${keys[index]!.privateKey}`,
        `listen_port=${PORT}`,
        `public_key=${keys[other].publicKey}`,
        `endpoint=${stage.nodes[other].addresses.ipv4}:${PORT}`,
        `allowed_ip=${stage.tunnelAddress(other)}/32`,
      ]);
    }
    const path = await stage.addressDevices(DEVICES, MTU_BYTES);
    await stage.awaitReachable(path, MTU_BYTES, processes[0]);
    return {
      version: await programVersion([PACKAGE, '--version'], PACKAGE),
      settings: `MTU ${MTU_BYTES}, ChaCha20-Poly1305`,
      processes,
      paths: [path],
    };
  },
};

function generateKeys(): KeyPair {
  const { privateKey } = generateKeyPairSync('x25519');
  const { d, x } = privateKey.export({ format: 'jwk' });
  const hex = (base64url: string | undefined): string => Buffer.from(base64url!, 'base64url').toString('hex');
  return { privateKey: hex(d), publicKey: hex(x) };
}

/** One `set` operation. Throws with the daemon's errno. */
async function configure(socket: string, lines: readonly string[]): Promise<void> {
  const answer = await new Promise<string>((resolve, reject) => {
    let text = '';
    const connection = createConnection(socket, () => connection.write(`set=1\n${lines.join('\n')}\n\n`));
    connection.setTimeout(CONTROL_TIMEOUT_MS, () =>
      connection.destroy(new Error(`${socket} does not answer`)),
    );
    connection.on('data', (chunk) => {
      text += chunk.toString();
      if (text.includes('\n\n')) connection.end();
    });
    connection.on('error', reject);
    connection.on('close', () => resolve(text));
  });
  if (!/^errno=0$/m.test(answer)) throw new Error(`wireguard-go refused its configuration: ${answer.trim()}`);
}
