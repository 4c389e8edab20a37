/** WireGuard in user space (Debian: wireguard-go). */
import { existsSync, rmSync } from 'node:fs';
import { notInstalled, programVersion } from '../programs.ts';
import type { System } from '../system.ts';
import { configureWireguard, generateWireguardKeys, wireguardSocket } from '../wireguard-control.ts';

const PACKAGE = 'wireguard-go';
/** Control sockets lie in the machine's own file system, so each end has a device name of its own. */
const DEVICES = ['wgbencha', 'wgbenchb'] as const;
const PORT = 51820;
/**
 * 1500 less outer IPv4 and UDP (28), type, index and counter (16), tag (16); padding ends at the MTU. wg-quick would take 1420,
 * which fits IPv6 too; all encrypted systems have the same one here.
 */
export const WIREGUARD_MTU_BYTES = 1440;
const MTU_BYTES = WIREGUARD_MTU_BYTES;

export const wireguardGo: System = {
  id: 'wireguard-go',
  title: 'wireguard-go',
  role: 'userspace',
  encrypted: true,
  unavailable: () => notInstalled([PACKAGE], PACKAGE),
  async start(stage) {
    const keys = [generateWireguardKeys(), generateWireguardKeys()] as const;
    const processes = [];
    for (const [index, node] of stage.nodes.entries()) {
      const device = DEVICES[index]!;
      const socket = wireguardSocket(device);
      if (existsSync(socket)) rmSync(socket);
      const env = { LOG_LEVEL: 'error', WG_PROCESS_FOREGROUND: '1' };
      const daemon = stage.startDaemon(node, [PACKAGE, '--foreground', device], env);
      stage.onDown(() => rmSync(socket, { force: true }));
      processes.push(daemon);
      await stage.awaitDevice(node, device, daemon);
      const other = index === 0 ? 1 : 0;
      await configureWireguard(socket, [
        `private_key=${keys[index]!.privateKey}`,
        `listen_port=${PORT}`,
        `public_key=${keys[other].publicKey}`,
        `endpoint=${stage.nodes[other].addresses.ipv4}:${PORT}`,
        `allowed_ip=${stage.tunnelAddress(other)}/32`,
      ]);
    }
    const path = await stage.addressDevices(DEVICES, MTU_BYTES);
    await stage.awaitReachable(path, MTU_BYTES, processes[0]);
    const version = await programVersion([PACKAGE, '--version'], PACKAGE);
    return {
      version,
      settings: `MTU ${MTU_BYTES}, ChaCha20-Poly1305, ${hasOffloads(version) ? 'TSO and GRO' : 'without TSO'}`,
      processes,
      paths: [path],
      handshakes: { publicKey: Buffer.from(keys[1].publicKey, 'hex'), port: PORT },
    };
  },
};

/** Since 0.0.20230223; Debian 12 has an older one, and a newer one in its backports. */
export function hasOffloads(version: string): boolean {
  const [, date] = /0\.0\.(\d{8})/.exec(version) ?? [];
  return date === undefined || Number(date) >= 20_230_223;
}
