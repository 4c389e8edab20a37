/**
 * bench/sealed-roofline.c: the roofline of encrypted tunnels, with WireGuard's datagrams sealed by OpenSSL. Keys are made for
 * each run and handed over on the command line, as there is no handshake.
 */
import { randomBytes } from 'node:crypto';
import type { System } from '../system.ts';
import { WIREGUARD_MTU_BYTES } from './wireguard-go.ts';

const DEVICE = 'sealroof0';
const PORT = '51821';
/** What WireGuard puts around a packet: type, index and counter (16), tag (16). */
const OVERHEAD_BYTES = 32;
/** The superpacket that just fills one send of 65,507 bytes (src/datapath/send-queue.ts). */
const GSO_MAX_SEGMENTS = Math.floor(65_507 / (WIREGUARD_MTU_BYTES + OVERHEAD_BYTES));

export const sealedRoofline: System = {
  id: 'sealed-roofline',
  title: 'C roofline, sealed',
  role: 'roofline',
  encrypted: true,
  unavailable: ({ sealedRoofline: program }) => ('missing' in program ? program.missing : undefined),
  async start(stage) {
    const program = stage.programs.sealedRoofline;
    if ('missing' in program) throw new Error(program.missing);
    const keys = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')] as const;
    const processes = [];
    for (const [index, node] of stage.nodes.entries()) {
      const other = index === 0 ? 1 : 0;
      const addresses = [node.addresses.ipv4, stage.nodes[other].addresses.ipv4];
      const ownKeys = [keys[index === 0 ? 0 : 1], keys[other]];
      const argv = [program.path, DEVICE, ...addresses, PORT, String(WIREGUARD_MTU_BYTES), ...ownKeys];
      const daemon = stage.startDaemon(node, argv);
      processes.push(daemon);
      await stage.awaitDevice(node, DEVICE, daemon);
    }
    const segments = ['gso_max_segs', String(GSO_MAX_SEGMENTS)];
    const path = await stage.addressDevices(DEVICE, WIREGUARD_MTU_BYTES, segments);
    await stage.awaitReachable(path, WIREGUARD_MTU_BYTES, processes[0]);
    return {
      version: 'bench/sealed-roofline.c',
      settings: `MTU ${WIREGUARD_MTU_BYTES}, ChaCha20-Poly1305, no handshake, no FDB and no checks`,
      processes,
      paths: [path],
    };
  },
};
