/**
 * Packet path threads block: in the read of the TUN, in the receive of the socket, and in the wait for room to send.
 * From each of these places they stop at once, and none of them keeps a process that ends.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { WorkerCounters } from '../../src/datapath/counters.ts';
import { MAPPED_WORD } from '../../src/datapath/forwarding.ts';
import { Datapath } from '../../src/dataplane/packet-threads.ts';
import { buildFdbSnapshot, FDB_LOCAL } from '../../src/fdb/snapshot.ts';
import { addressWords, parseAddress } from '../../src/ip/address.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { closeTunDevice, openTunDevice } from '../../src/tun/tun-device.ts';
import { closeUnderlaySockets, openUnderlaySockets } from '../../src/underlay/underlay-socket.ts';
import { type BlockingCall, threadsIn } from '../helpers/blocked-threads.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { enterOwnNetns } from '../helpers/own-netns.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const SLOW_PEER = '198.51.100.9';
const SLOW_POD = '10.43.9.9';
/** A route that carries next to nothing: what does not leave fills the socket. */
const SLOW_ROUTE = [
  'ip link add slow0 type veth peer name slow1',
  'ip link set slow1 up',
  'ip link set slow0 up',
  `ip route add ${SLOW_PEER} dev slow0`,
  `ip neigh add ${SLOW_PEER} lladdr 02:00:00:00:00:09 dev slow0`,
  'tc qdisc add dev slow0 root tbf rate 8kbit burst 70kb limit 64mb',
];
/** Datagrams to an address without end. */
const FLOOD = `
const socket = require('node:dgram').createSocket('udp4');
let sent = 0;
setInterval(() => {
  for (let i = 0; i < 100; i++) socket.send(Buffer.alloc(200 + 7 * (sent++ % 150)), 9, process.argv[1]);
}, 1);
`;
const STOP_MS = 100;
/** Of so many stops the middle one counts: a machine that is busy holds up any. */
const ROUNDS = 5;
const SETTLE_MS = 20_000;

/** Two threads, one for each direction, block in these. */
const PLACES = [
  ['the read of the TUN and the receive of the socket', 'read', false],
  ['the wait for room to send', 'poll', true],
] as const satisfies readonly (readonly [string, BlockingCall, boolean])[];

const LACKS = lacking('root', 'ip', 'nsenter', 'tc');

describeUnless(LACKS, 'a process with blocked threads', () => {
  let lab: Lab;
  let node: LabNode;
  let agent: ChildProcess | undefined;

  beforeAll(async () => {
    const slow = { name: 'slow', endpoint: `${SLOW_PEER}:4790`, subnets: ['10.43.9.0/24'] };
    lab = await Lab.up({ name: 'blocked', nodes: 1, pods: 1, config: () => ({ staticPeers: [slow] }) });
    node = lab.node(0);
    for (const command of SLOW_ROUTE) await mustRun(node, command.split(' '));
    await node.stop();
  });
  afterAll(async () => {
    agent?.kill('SIGKILL');
    await lab?.down();
  });

  /** An agent that runs `statement` at SIGUSR2, and whose end can be waited for. */
  async function startAgent(statement: string): Promise<ChildProcess> {
    const preload = `import { isMainThread } from 'node:worker_threads';
      if (isMainThread) process.on('SIGUSR2', () => { ${statement} });`;
    const options = ['--import', `data:text/javascript,${encodeURIComponent(preload)}`];
    agent = node.spawn([process.execPath, ...options, WARREN_PROGRAM, 'agent', '-c', node.configFile], {
      stdio: 'ignore',
    });
    await until(async () => {
      const view = await node.view().catch(() => undefined);
      return view?.status.datapath.active === true && view.pods.length === 1;
    });
    return agent;
  }

  describe.each(PLACES)('in %s', (_place, call, floods) => {
    test.each([
      ['process.exit', 'process.exit(7)', 'SIGUSR2', [7, null]],
      ['an uncaught exception', "throw new Error('on purpose')", 'SIGUSR2', [1, null]],
      ['SIGKILL', '', 'SIGKILL', [null, 'SIGKILL']],
    ] as const)(
      'ends by %s',
      async (_what, statement, signal, expected) => {
        const child = await startAgent(statement);
        if (floods) {
          const pod = await lab.pod(0, 'pod-1');
          const flood = pod.spawn([process.execPath, '-e', FLOOD, SLOW_POD], { stdio: 'ignore' });
          onTestFinished(() => void flood.kill('SIGKILL'));
        }
        await until(() => threadsIn(child.pid!, call).length > 0);
        await until(() => threadsIn(child.pid!, 'recvmmsg').length === 1);
        const ended = once(child, 'exit');
        child.kill(signal);
        expect(await Promise.race([ended, delay(5000, 'it goes on')])).toEqual(expected);
      },
      60_000,
    );
  });
});

// Last, for this thread leaves the machine's namespace.
describeUnless(LACKS, 'threads that are told to stop', () => {
  let flood: Socket;

  beforeAll(async () => {
    enterOwnNetns();
    for (const command of SLOW_ROUTE) execFileSync(command.split(' ')[0]!, command.split(' ').slice(1));
    flood = createSocket('udp4');
    await new Promise<void>((resolve) => flood.bind(0, resolve));
  });
  afterAll(() => flood?.close());

  test.each(PLACES)(
    `do so within ${STOP_MS} ms from %s`,
    async (_place, call, floods) => {
      const tookMs: number[] = [];
      for (let round = 0; round < ROUNDS; round++) tookMs.push(await stopFrom(call, floods));
      expect(tookMs.toSorted((a, b) => a - b)[ROUNDS >> 1]).toBeLessThan(STOP_MS);
    },
    60_000,
  );

  /** Starts the two threads on devices of their own, waits until they block, and stops them; how long that took. */
  async function stopFrom(call: BlockingCall, floods: boolean): Promise<number> {
    const tun = openTunDevice('blocked0', 1, { tso: true, uso: false });
    execFileSync('ip', ['address', 'replace', '10.43.1.1/16', 'dev', 'blocked0']);
    execFileSync('ip', ['link', 'set', 'blocked0', 'up', 'mtu', '1400']);
    const { descriptors } = openUnderlaySockets({
      words: addressWords(parseAddress('0.0.0.0')),
      port: 4790,
      displayName: 'any address',
      count: 1,
      wanted: { udpSegment: true, udpGro: true },
    });
    const datapath = await Datapath.start({
      tunReadFds: tun.readFds,
      tunWriteFds: tun.writeFds,
      socketFds: descriptors,
      sendFds: descriptors,
      underlayFamily: 4,
      vni: 42,
      overheadBytes: 36,
      offloads: { udpSegment: true, coalesceTcp: true, coalesceUdp: true },
      counters: [new WorkerCounters()],
      onOffloadOff: () => {},
      onFailure: () => {},
    });
    const timer = setInterval(() => {
      for (let i = 0; floods && i < 100; i++) flood.send(Buffer.alloc(200 + 7 * i), 9, SLOW_POD);
    }, 1);
    try {
      await datapath.update(slowPeer());
      await until(() => threadsIn(process.pid, call).length > 0);
      await until(() => threadsIn(process.pid, 'recvmmsg').length === 1);
      const startMs = performance.now();
      await datapath.stop();
      return performance.now() - startMs;
    } finally {
      clearInterval(timer);
      closeUnderlaySockets(descriptors);
      closeTunDevice(tun);
    }
  }
});

/** The state of a node 10.43.1.0/24 that knows the slow peer alone. */
function slowPeer() {
  const entry = (address: string, value: number) => ({
    words: addressWords(parseAddress(address)),
    length: 24,
    value,
  });
  return {
    vteps: Int32Array.of(0, 4790, 1400, 0, 0, MAPPED_WORD, addressWords(parseAddress(SLOW_PEER))[0]!),
    fdb: buildFdbSnapshot([entry('10.43.1.0', FDB_LOCAL), entry('10.43.9.0', 0)]),
    ownIpv4: addressWords(parseAddress('10.43.1.1'))[0],
    ownIpv6: undefined,
  };
}

async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + SETTLE_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`did not come true within ${SETTLE_MS / 1000} s`);
    await delay(5);
  }
}
