import { beforeEach, describe, expect, it } from 'vitest';
import { GroupProbing } from '../../../src/agent/group-probing.ts';
import type { GroupProbeOptions } from '../../../src/group-probe/group-probes.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import type { Rpc, RpcHandler } from '../../../src/rpc/rpc.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

const CALLER = { id: 'b', name: 'b' };

let clock: VirtualClock;
let errors: string[];
let handler: RpcHandler;

const notAskedFor = (): never => {
  throw new Error('not asked for');
};

const rpc: Rpc = {
  serve: (_method, served) => {
    handler = served;
  },
  call: notAskedFor,
  stream: notAskedFor,
};

beforeEach(() => {
  clock = new VirtualClock();
  errors = [];
});

function options(): GroupProbeOptions {
  return {
    clock,
    log: { ...silentLogger, error: (_about: object, text: string) => errors.push(text) },
    subnets: () => [{}],
    groups: { isUsed: () => true },
    peers: () => [{ kind: 'gossip' }],
  } as unknown as GroupProbeOptions;
}

describe('group probes that cannot be loaded', () => {
  it('are said in the log one time, and whoever asks is refused', async () => {
    let loads = 0;
    const broken = async () => {
      loads++;
      throw new Error('a file is gone');
    };
    const probing = new GroupProbing(rpc, broken, options());
    probing.start();
    await clock.run(60_000);
    expect(errors).toEqual(['no group probes']);
    const answer = async () => {
      for await (const _ of handler(
        new Uint8Array(),
        CALLER,
        new AbortController().signal,
      ) as AsyncIterable<unknown>);
    };
    await expect(answer()).rejects.toThrow('a file is gone');
    expect([loads, probing.problems(), errors.length]).toEqual([1, [], 1]);
    probing.stop();
  });
});
