/** What networks are called, also while the engine does not answer. */
import { expect, it } from 'vitest';
import type { NetworkFacts } from '../../../src/docker/describe.ts';
import { KnownNetworks } from '../../../src/docker/known-networks.ts';

const ID = 'a'.repeat(64);
const network = { Id: ID, Name: 'app', Driver: 'warren' };

function known(remembered: Record<string, NetworkFacts> = {}) {
  const written: Readonly<Record<string, NetworkFacts>>[] = [];
  const engine = { isAway: false, asked: 0 };
  const networks = new KnownNetworks({
    engine: {
      network: async () => {
        engine.asked++;
        if (engine.isAway) throw new Error('no answer');
        return network;
      },
    },
    remembered,
    remember: (all) => written.push(all),
  });
  return { networks, engine, written };
}

it('asks once, and remembers', async () => {
  const { networks, engine, written } = known();
  expect(await networks.factsOf(ID)).toEqual({ name: 'app', reach: '' });
  await networks.factsOf(ID);
  expect([engine.asked, written]).toEqual([1, [{ [ID]: { name: 'app', reach: '' } }]]);
});

it('knows what was remembered where the engine does not answer, and else the id alone', async () => {
  const { networks, engine, written } = known({ [ID]: { name: 'app', reach: '*' } });
  engine.isAway = true;
  expect(await networks.factsOf(ID)).toEqual({ name: 'app', reach: '*' });
  expect(await networks.factsOf('b')).toEqual({ name: 'b', reach: '' });
  expect([networks.get('b'), written]).toEqual([undefined, []]);
});

it('takes over all that the engine has, and writes only what is other than before', () => {
  const { networks, written } = known({ b: { name: 'gone', reach: '' } });
  networks.learn([network]);
  networks.learn([network]);
  networks.learn([{ ...network, Options: { 'warren.reach': 'db' } }]);
  expect(written).toEqual([{ [ID]: { name: 'app', reach: '' } }, { [ID]: { name: 'app', reach: 'db' } }]);
  networks.forget(ID);
  expect(networks.get(ID)).toBeUndefined();
});

it('is bounded', () => {
  const { networks } = known();
  networks.learn(Array.from({ length: 1100 }, (_, i) => ({ ...network, Id: `n${i}` })));
  expect([networks.get('n0'), networks.get('n1099')]).toEqual([undefined, { name: 'app', reach: '' }]);
});
