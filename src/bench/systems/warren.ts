/** This overlay, once in each of its modes. */
import { identifyProcess } from '../../lab/process.ts';
import { VERSION } from '../../package.ts';
import type { Path, System } from '../system.ts';

interface Mode {
  readonly id: string;
  readonly title: string;
  readonly encrypted: boolean;
  /** Put over the lab's configuration of every node. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly settings: string;
}

/** What has no keys is compared with what has none. */
const CLEAR_TEXT = { encapsulation: { type: 'vxlan-gpe' } };

const MODES: readonly Mode[] = [
  {
    id: 'warren',
    title: 'warren',
    encrypted: false,
    config: CLEAR_TEXT,
    settings: 'encapsulation.type: vxlan-gpe',
  },
  {
    id: 'warren-encrypted',
    title: 'warren, encrypted',
    encrypted: true,
    // Its MTU is that of the others that encrypt.
    config: { encapsulation: { type: 'wireguard' } },
    settings: 'as shipped',
  },
  {
    id: 'warren-two-workers',
    title: 'warren, two workers',
    encrypted: false,
    config: { ...CLEAR_TEXT, datapath: { workers: 2 } },
    settings: 'datapath.workers: 2',
  },
  {
    id: 'warren-full-checksums',
    title: 'warren, checksum offload off',
    encrypted: false,
    config: { ...CLEAR_TEXT, datapath: { offload: { checksum: false } } },
    settings: 'datapath.offload.checksum: false',
  },
  {
    id: 'warren-no-offload',
    title: 'warren, offload off',
    encrypted: false,
    config: { ...CLEAR_TEXT, datapath: { offload: 'off' } },
    settings: 'datapath.offload: off',
  },
];

export const warrenModes: readonly System[] = MODES.map(({ id, title, encrypted, config, settings }) => ({
  id,
  title,
  role: 'warren',
  encrypted,
  stage: { agentConfig: config },
  async start(stage) {
    const [client, server] = stage.nodes;
    const views = await Promise.all(stage.nodes.map((node) => node.view()));
    const { tun, encapsulation } = views[1]!.status;
    const nodeAddress = tun.addresses.find((address) => !address.includes(':'));
    if (nodeAddress === undefined) throw new Error(`${server.name} has no IPv4 address on ${tun.name}`);
    const pods = await Promise.all([stage.pod(0), stage.pod(1)]);
    const paths: Path[] = [
      { kind: 'node', client, server, address: nodeAddress.split('/')[0]! },
      { kind: 'pod', client: pods[0], server: pods[1], address: pods[1].address(4) },
    ];
    for (const path of paths) await stage.awaitReachable(path, tun.mtu);
    return {
      version: `warren ${VERSION}, Node ${process.versions.node}`,
      settings: `MTU ${tun.mtu}, ${encrypted ? 'encrypted' : 'clear text'}, ${settings}`,
      processes: views.flatMap(({ status }) => identifyProcess(status.node.pid) ?? []),
      paths,
      ...(encapsulation.publicKey !== undefined && {
        handshakes: { publicKey: Buffer.from(encapsulation.publicKey, 'base64'), port: encapsulation.port },
      }),
    };
  },
}));
