/** bench/roofline.c: the best that was found in C, with nothing between the system calls but what TCP needs. */
import type { System } from '../system.ts';

const DEVICE = 'roof0';
const PORT = '4790';
/** As warren's: outer IPv4 and UDP headers, VXLAN-GPE. */
const MTU_BYTES = 1500 - 36;
/** The superpacket that just fills one send of 65,507 bytes (src/datapath/send-queue.ts). */
const GSO_MAX_SEGMENTS = Math.floor(65_507 / (MTU_BYTES + 8));

export const roofline: System = {
  id: 'roofline',
  title: 'C roofline',
  role: 'roofline',
  encrypted: false,
  unavailable: ({ roofline: program }) => ('missing' in program ? program.missing : undefined),
  async start(stage) {
    const program = stage.programs.roofline;
    if ('missing' in program) throw new Error(program.missing);
    const processes = [];
    for (const [index, node] of stage.nodes.entries()) {
      const other = stage.nodes[index === 0 ? 1 : 0];
      const argv = [program.path, DEVICE, node.addresses.ipv4, other.addresses.ipv4, PORT];
      const daemon = stage.startDaemon(node, argv);
      processes.push(daemon);
      await stage.awaitDevice(node, DEVICE, daemon);
    }
    const path = await stage.addressDevices(DEVICE, MTU_BYTES, ['gso_max_segs', String(GSO_MAX_SEGMENTS)]);
    await stage.awaitReachable(path, MTU_BYTES, processes[0]);
    return {
      version: 'bench/roofline.c',
      settings: `MTU ${MTU_BYTES}, clear text, no FDB and no checks`,
      processes,
      paths: [path],
    };
  },
};
