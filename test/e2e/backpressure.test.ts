/**
 * A peer whose route carries one datagram a second. What it does not take stays charged to the one socket that leads
 * to all peers, and fills it; what comes in must be delivered all the same.
 */
import { afterAll, beforeAll, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const SLOW_PEER = '198.51.100.9';
const SLOW_POD = '10.43.9.9';

/** Datagrams to an address without end. Sizes differ, so that each is a message of its own. */
const FLOOD = `
const socket = require('node:dgram').createSocket('udp4');
let sent = 0;
setInterval(() => {
  for (let i = 0; i < 100; i++) socket.send(Buffer.alloc(200 + 7 * (sent++ % 150)), 9, process.argv[1]);
}, 1);
`;
/** So many datagrams to an address. */
const SEND = `
const socket = require('node:dgram').createSocket('udp4');
let left = Number(process.argv[2]);
for (let i = left; i > 0; i--) socket.send('x', 9, process.argv[1], () => --left || socket.close());
`;
const PACKETS = 300;
/** Waiting anew for each message, the packet path would look at nothing else for a minute; a busy machine stalls for seconds. */
const LIMIT_MS = 20_000;

describeUnless(lacking('root', 'ip', 'nsenter', 'tc'), 'a peer whose route carries next to nothing', () => {
  let lab: Lab;
  beforeAll(async () => {
    const slow = { name: 'slow', endpoint: `${SLOW_PEER}:4790`, subnets: ['10.43.9.0/24'] };
    lab = await Lab.up({
      encapsulation: 'vxlan-gpe',
      name: 'backpressure',
      nodes: 2,
      pods: 1,
      config: () => ({ staticPeers: [slow] }),
    });
    const commands = [
      'ip link add slow0 type veth peer name slow1',
      'ip link set slow1 up',
      'ip link set slow0 up',
      `ip route add ${SLOW_PEER} dev slow0`,
      `ip neigh add ${SLOW_PEER} lladdr 02:00:00:00:00:09 dev slow0`,
      'tc qdisc add dev slow0 root tbf rate 8kbit burst 70kb limit 64mb',
    ];
    for (const command of commands) await mustRun(lab.node(0), command.split(' '));
  });
  afterAll(async () => {
    await lab?.down();
  });

  const node = (source: string, ...args: string[]) => [process.execPath, '-e', source, ...args];

  test('does not keep what comes in from the pods', async () => {
    const [here, there] = [await lab.pod(0, 'pod-1'), await lab.pod(1, 'pod-1')];
    const flood = here.spawn(node(FLOOD, SLOW_POD), { stdio: 'ignore' });
    try {
      const { status } = await lab
        .node(0)
        .waitFor('the socket is full', (view) => view.status.datapath.drops['outbound-send-failed']! > 0);
      const wanted = status.datapath.inbound.packets + PACKETS;
      await mustRun(there, node(SEND, here.address(4), String(PACKETS)));
      await lab
        .node(0)
        .waitFor('the packets are in', (view) => view.status.datapath.inbound.packets >= wanted, {
          timeoutMs: LIMIT_MS,
        });
    } finally {
      flood.kill('SIGKILL');
    }
  });
});
