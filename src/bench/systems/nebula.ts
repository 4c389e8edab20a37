/** Nebula (Debian: nebula), both ends known to each other, no lighthouse. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { runCommand } from '../../host/command.ts';
import { notInstalled, programVersion } from '../programs.ts';
import type { System } from '../system.ts';

const PACKAGE = 'nebula';
const DEVICE = 'nebula0';
const PORT = 4242;
/** 1500 less outer IPv4 and UDP (28), Nebula's header (16), tag (16). Its default is 1300; this is fairer. */
const MTU_BYTES = 1440;
const ANY = [{ port: 'any', proto: 'any', host: 'any' }];

export const nebula: System = {
  id: 'nebula',
  title: 'nebula',
  role: 'userspace',
  encrypted: true,
  unavailable: () => notInstalled([PACKAGE, 'nebula-cert'], PACKAGE),
  async start(stage) {
    const folder = stage.nodes[0].folder;
    const ca = { crt: join(folder, 'ca.crt'), key: join(folder, 'ca.key') };
    await runCommand(['nebula-cert', 'ca', '-name', 'bench', '-out-crt', ca.crt, '-out-key', ca.key]);
    const processes = [];
    for (const [index, node] of stage.nodes.entries()) {
      const other = index === 0 ? 1 : 0;
      const [cert, key] = [join(node.folder, 'host.crt'), join(node.folder, 'host.key')];
      const signer = ['-ca-crt', ca.crt, '-ca-key', ca.key];
      const host = ['-name', node.name, '-ip', `${stage.tunnelAddress(index === 0 ? 0 : 1)}/24`];
      await runCommand(['nebula-cert', 'sign', ...signer, ...host, '-out-crt', cert, '-out-key', key]);
      const file = join(node.folder, 'nebula.yaml');
      const config = {
        pki: { ca: ca.crt, cert, key },
        static_host_map: {
          [stage.tunnelAddress(other)]: [`${stage.nodes[other].addresses.ipv4}:${PORT}`],
        },
        lighthouse: { am_lighthouse: false },
        listen: { host: '0.0.0.0', port: PORT },
        cipher: 'aes',
        tun: { dev: DEVICE, mtu: MTU_BYTES },
        logging: { level: 'warning' },
        firewall: { outbound: ANY, inbound: ANY },
      };
      writeFileSync(file, stringify(config), { mode: 0o600 });
      processes.push(stage.startDaemon(node, [PACKAGE, '-config', file]));
    }
    for (const [index, node] of stage.nodes.entries()) {
      await stage.awaitDevice(node, DEVICE, processes[index]!);
    }
    // Nebula gives its device address and MTU itself.
    const [client, server] = stage.nodes;
    const path = { kind: 'node', client, server, address: stage.tunnelAddress(1) } as const;
    await stage.awaitReachable(path, MTU_BYTES, processes[0]);
    return {
      version: `nebula ${await programVersion([PACKAGE, '-version'], PACKAGE)}`,
      settings: `MTU ${MTU_BYTES}, AES-256-GCM`,
      processes,
      paths: [path],
    };
  },
};
