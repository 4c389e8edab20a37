/** tinc 1.0 (Debian: tinc), once as it ships and once without cipher and digest. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { notInstalled, programVersion } from '../programs.ts';
import type { System } from '../system.ts';

const PACKAGE = 'tinc';
const DEVICE = 'tinc0';
/**
 * 1500 less outer IPv4 and UDP (28), sequence number (4), digest (4), inner Ethernet header (14) and the padding of
 * a block cipher (up to 8, or 16).
 */
const MTU_BYTES = 1430;
const NAMES = ['a', 'b'] as const;

interface Variant {
  readonly id: string;
  readonly title: string;
  readonly encrypted: boolean;
  /** Lines for each node's file under hosts/. */
  readonly host: readonly string[];
  readonly settings: string;
}

const VARIANTS: readonly Variant[] = [
  { id: 'tinc', title: 'tinc', encrypted: true, host: [], settings: 'cipher and digest as shipped' },
  {
    id: 'tinc-plain',
    title: 'tinc, no cipher',
    encrypted: false,
    host: ['Cipher = none', 'Digest = none'],
    settings: 'clear text, no digest',
  },
];

export const tincVariants: readonly System[] = VARIANTS.map((variant) => ({
  id: variant.id,
  title: variant.title,
  role: 'userspace',
  encrypted: variant.encrypted,
  unavailable: () => notInstalled(['tincd'], PACKAGE),
  async start(stage) {
    const keys = NAMES.map(() =>
      generateKeyPairSync('rsa', {
        modulusLength: 2048,
        publicKeyEncoding: { type: 'pkcs1', format: 'pem' },
        privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
      }),
    );
    const processes = [];
    for (const [index, node] of stage.nodes.entries()) {
      const folder = join(node.folder, 'tinc');
      mkdirSync(join(folder, 'hosts'), { recursive: true, mode: 0o700 });
      writeLines(join(folder, 'tinc.conf'), [
        `Name = ${NAMES[index]}`,
        `Interface = ${DEVICE}`,
        'Mode = router',
        'AddressFamily = ipv4',
        // The other end's daemon is started second.
        ...(index === 1 ? [`ConnectTo = ${NAMES[0]}`] : []),
      ]);
      writeLines(join(folder, 'rsa_key.priv'), [keys[index]!.privateKey]);
      for (const peer of [0, 1] as const) {
        writeLines(join(folder, 'hosts', NAMES[peer]), [
          `Address = ${stage.nodes[peer].addresses.ipv4}`,
          `Subnet = ${stage.tunnelAddress(peer)}/32`,
          ...variant.host,
          keys[peer]!.publicKey,
        ]);
      }
      const pidFile = join(node.folder, 'tinc.pid');
      const daemon = stage.startDaemon(node, ['tincd', '-c', folder, '-D', `--pidfile=${pidFile}`]);
      processes.push(daemon);
      await stage.awaitDevice(node, DEVICE, daemon);
    }
    const path = await stage.addressDevices(DEVICE, MTU_BYTES);
    await stage.awaitReachable(path, MTU_BYTES, processes[0]);
    return {
      version: await programVersion(['tincd', '--version'], PACKAGE),
      settings: `MTU ${MTU_BYTES}, ${variant.settings}`,
      processes,
      paths: [path],
    };
  },
}));

function writeLines(path: string, lines: readonly string[]): void {
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 });
}
