/** What others send, whatever it does to this node, never ends it. */
import { expect, it } from 'vitest';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { GossipCounters } from '../../../src/link/counters.ts';
import { Link, type LinkHandlers, type LinkOptions } from '../../../src/link/link.ts';
import { Sealer } from '../../../src/link/seal.ts';
import { Sessions } from '../../../src/link/sessions.ts';
import { encodeMessage } from '../../../src/membership/codec.ts';
import { seededRandom } from '../../../src/membership/random.ts';
import { endpointOf } from '../../../src/simulate/cluster.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { VirtualNetwork } from '../../../src/simulate/virtual-network.ts';

const fail = () => {
  throw new Error('this is a bug');
};
const ack = encodeMessage({ kind: 'ack', sequence: 1, toStranger: false });

async function twoLinks() {
  const clock = new VirtualClock();
  const network = new VirtualNetwork(clock, seededRandom(1));
  const bugs: unknown[] = [];
  const open = async (number: number, handlers: LinkHandlers, options: Partial<LinkOptions> = {}) => {
    const counters = new GossipCounters();
    const link = new Link({
      transport: network.host(endpointOf(number)).transport(),
      sealer: new Sealer('test', undefined),
      sessions: new Sessions({ clock, id: `0000000${number + 1}`.repeat(2) }),
      counters,
      streamTimeoutMs: 1000,
      memberOf: () => undefined,
      onBug: (error) => bugs.push(error),
      ...options,
    });
    await link.open(handlers);
    return { link, counters };
  };
  return { clock, bugs, open };
}

it('a failure in handling a datagram or a stream is counted, told of, and ends nothing', async () => {
  const { clock, bugs, open } = await twoLinks();
  const broken = await open(0, { datagram: fail, stream: () => ({ message: fail, end: () => [] }) });
  const other = await open(1, {
    datagram: () => {},
    stream: () => ({ message: () => {}, end: () => [ack] }),
  });
  const to = { gossip: endpointOf(0) };
  other.link.send(to, [ack]);
  const results: (string | undefined)[] = [];
  other.link.exchange(
    to,
    [ack],
    () => {},
    (error) => results.push(error?.message),
  );
  clock.advance(100);
  expect(bugs).toHaveLength(2);
  expect(broken.counters.get('bugs')).toBe(2);
  expect(results).toEqual(['refused us: it could not read what this node sent']);
  // Where the answer cannot be handled, the exchange is over with an error.
  broken.link.exchange({ gossip: endpointOf(1) }, [ack], fail, (error) => results.push(error?.message));
  clock.advance(100);
  expect(broken.counters.get('bugs')).toBe(3);
  expect(results[1]).toMatch(/could not be handled/);
});

it('what comes from outside of the allowed ranges is counted and not looked at', async () => {
  const { clock, open } = await twoLinks();
  const heard: number[] = [];
  const handlers: LinkHandlers = {
    datagram: () => heard.push(1),
    stream: () => ({ message: () => heard.push(2), end: () => [ack] }),
  };
  const allowFrom = [parsePrefix('fd00::/8'), parsePrefix('10.0.0.2/32')];
  const careful = await open(0, handlers, { allowFrom });
  const answers: (Error | undefined)[] = [];
  for (const number of [1, 2]) {
    const other = await open(number, handlers);
    other.link.send({ gossip: endpointOf(0) }, [ack]);
    other.link.exchange(
      { gossip: endpointOf(0) },
      [ack],
      () => {},
      (error) => answers.push(error),
    );
  }
  clock.advance(100);
  expect(heard).toEqual([1, 2]);
  expect(answers.filter((error) => error === undefined)).toHaveLength(1);
  expect(careful.counters.get('refusedAddress')).toBe(2);
  expect(careful.counters.get('receivedDatagrams')).toBe(1);
});
