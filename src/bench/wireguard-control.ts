/**
 * wireguard-go's control socket (https://www.wireguard.com/xplatform/): it is set up through that, so that
 * wireguard-tools is not needed.
 */
import { generateKeyPairSync } from 'node:crypto';
import { createConnection } from 'node:net';

/** Control sockets lie in the machine's own file system, whatever namespace the device is in. */
const SOCKET_FOLDER = '/var/run/wireguard';
const CONTROL_TIMEOUT_MS = 5_000;

export interface WireguardKeys {
  /** Hexadecimal, as the control protocol has it. */
  readonly privateKey: string;
  readonly publicKey: string;
}

/** Path of the control socket of the device of that name. */
export function wireguardSocket(device: string): string {
  return `${SOCKET_FOLDER}/${device}.sock`;
}

export function generateWireguardKeys(): WireguardKeys {
  const { privateKey } = generateKeyPairSync('x25519');
  const { d, x } = privateKey.export({ format: 'jwk' });
  const hex = (base64url: string | undefined): string => Buffer.from(base64url!, 'base64url').toString('hex');
  return { privateKey: hex(d), publicKey: hex(x) };
}

/** One `set` operation. Throws with the daemon's errno. */
export async function configureWireguard(socket: string, lines: readonly string[]): Promise<void> {
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
