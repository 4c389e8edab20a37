/**
 * Two to four nodes that agree on keys over calls that come late, twice as late, or not at all, and are started anew
 * meanwhile, in virtual time. What must hold: whatever one answers a handshake with, the other takes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import type { PairKeys } from '../../../src/encapsulation/wireguard/key-exchange.ts';
import { generateKeyPair } from '../../../src/encapsulation/wireguard/x25519.ts';
import { WarrenError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { type Random, seededRandom } from '../../../src/membership/random.ts';
import { AGREE_METHOD, KEY_METHOD } from '../../../src/post-quantum/method.ts';
import { CIPHERTEXT_BYTES, type MlKem, PUBLIC_KEY_BYTES } from '../../../src/post-quantum/ml-kem.ts';
import { PairKeyExchange, RENEW_AFTER_MS } from '../../../src/post-quantum/pair-keys.ts';
import type { Rpc } from '../../../src/rpc/rpc.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

/** Fast, and safe against nobody. */
const quickKem: MlKem = {
  name: 'quick',
  generate: () => {
    const publicKey = randomBytes(PUBLIC_KEY_BYTES);
    return { publicKey, decapsulate: (ciphertext) => secretOf(publicKey, ciphertext), wipe: () => {} };
  },
  encapsulate: (publicKey) => {
    const ciphertext = randomBytes(CIPHERTEXT_BYTES);
    return { ciphertext, secret: secretOf(publicKey, ciphertext) };
  },
};

function secretOf(publicKey: Uint8Array, ciphertext: Uint8Array): Buffer {
  return createHash('sha256').update(publicKey).update(ciphertext).digest();
}

/** What becomes of a call: how long each way takes, and which of both is lost. */
interface Fate {
  readonly thereMs: number;
  readonly backMs: number;
  readonly isLost?: 'there' | 'back' | undefined;
}

class Node {
  readonly id: string;
  readonly tunnelKey = generateKeyPair().publicKey;
  run = 0;
  exchange!: PairKeyExchange;
  keyHash: Uint8Array | undefined;
  /** By the other's id. */
  readonly used = new Map<string, PairKeys>();
  readonly inUse = new Set<string>();
  /** Keys in the tunnel that it takes for the others'. */
  readonly mistaken = new Map<string, Uint8Array>();
  readonly #nodes: Nodes;

  constructor(nodes: Nodes, number: number) {
    this.#nodes = nodes;
    this.id = `${number}`.repeat(32);
    this.start();
  }

  start(): void {
    this.exchange?.close();
    this.run++;
    this.keyHash = undefined;
    this.used.clear();
    this.exchange = new PairKeyExchange(
      {
        clock: this.#nodes.clock,
        log: silentLogger,
        rpc: this.#nodes.rpcOf(this),
        self: this,
        peer: (id) => {
          const { keyHash, run, ...peer } = this.#nodes.of(id);
          if (this.#nodes.gone.has(id)) return undefined;
          const tunnelKey = this.mistaken.get(id) ?? peer.tunnelKey;
          const isThere = !this.#nodes.dead.has(id);
          return { id, name: `node-${id[0]}`, run: String(run), isThere, tunnelKey, keyHash };
        },
        isInUse: (id) => this.inUse.has(id),
        use: (id, keys) => {
          if (keys) this.used.set(id, keys);
          else this.used.delete(id);
        },
        announce: (keyHash) => {
          this.keyHash = keyHash;
        },
        introduce: () => {},
        onChange: () => {},
      },
      this.#nodes.kem,
    );
    for (const other of this.#nodes.all) other.exchange.peersChanged();
  }
}

class Nodes {
  readonly clock = new VirtualClock();
  readonly all: Node[] = [];
  readonly gone = new Set<string>();
  readonly dead = new Set<string>();
  kem = quickKem;
  fate: (from: Node, to: Node, method: string) => Fate = () => ({ thereMs: 1, backMs: 1 });
  calls = 0;

  constructor(count: number) {
    for (let i = 1; i <= count; i++) this.all.push(new Node(this, i));
  }

  of(id: string): Node {
    return this.all.find((node) => node.id === id)!;
  }

  rpcOf(from: Node): Rpc {
    const fromRun = from.run;
    const call: Rpc['call'] = (id, method, body, { timeoutMs = 10_000 } = {}) => {
      const to = this.of(id);
      const toRun = to.run;
      const { thereMs, backMs, isLost } = this.fate(from, to, method);
      this.calls++;
      return new Promise((resolve, reject) => {
        this.clock.after(timeoutMs, () => reject(new WarrenError('RPC_UNREACHABLE', 'no answer in time')));
        if (isLost === 'there') return;
        this.clock.after(thereMs, () => {
          // As calls have it: for this run of the one, by this run of the other.
          if (to.run !== toRun || from.run !== fromRun) return;
          const caller = { id: from.id, name: `node-${from.id[0]}` };
          let answer: () => void;
          try {
            const { exchange } = to;
            const parts =
              method === KEY_METHOD ? exchange.answerKey(caller) : exchange.answerAgree(body, caller);
            answer = () => resolve(parts);
          } catch (error) {
            answer = () => reject(error as Error);
          }
          if (isLost === undefined) this.clock.after(backMs, answer);
        });
      });
    };
    return { call, serve: () => {}, stream: () => undefined as never };
  }
}

/** Whether a handshake that `from` begins would end; undefined: it begins none. */
function handshake(from: Node, to: Node): boolean | undefined {
  const [own, other] = [from.used.get(to.id), to.used.get(from.id)];
  for (const keys of [own, other]) {
    // What is gone is overwritten, and nobody is to be left with that.
    for (const key of keys?.accept ?? []) expect(key).not.toEqual(Buffer.alloc(32));
  }
  if (!own || own.accept.length === 0) return undefined;
  if (!other?.respondWith) return false;
  return own.accept.some((key) => Buffer.compare(key, other.respondWith!) === 0);
}

let nodes: Nodes;
let a: Node;
let b: Node;

beforeEach(() => {
  nodes = new Nodes(2);
  [a, b] = nodes.all as [Node, Node];
});

const state = () => [a.exchange.state(b.id), b.exchange.state(a.id)];

describe('two nodes', () => {
  it('agree when one of them wants to, by two calls', async () => {
    expect(state()).toEqual(['offered', 'offered']);
    b.exchange.wanted(a.id);
    await nodes.clock.run(10);
    expect(state()).toEqual(['agreed', 'agreed']);
    expect(nodes.calls).toBe(2);
    expect(a.used.get(b.id)!.respondWith).toEqual(b.used.get(a.id)!.respondWith);
    expect([handshake(a, b), handshake(b, a)]).toEqual([true, true]);
    expect([a.exchange.counts, b.exchange.counts]).toEqual([
      { agreed: 0, answered: 1, failed: 0 },
      { agreed: 1, answered: 0, failed: 0 },
    ]);
  });

  it('come to one key when both want one at once', async () => {
    for (const [ofA, ofB] of [
      [
        [1, 1],
        [1, 1],
      ],
      [
        [1, 1],
        [3, 3],
      ],
      [
        [5, 100],
        [3, 3],
      ],
      [
        [100, 5],
        [3, 3],
      ],
    ] as const) {
      nodes = new Nodes(2);
      [a, b] = nodes.all as [Node, Node];
      nodes.fate = (from) => {
        const [thereMs, backMs] = from === a ? ofA : ofB;
        return { thereMs, backMs };
      };
      a.exchange.wanted(b.id);
      b.exchange.wanted(a.id);
      await nodes.clock.run(1_000);
      expect(state()).toEqual(['agreed', 'agreed']);
      expect([handshake(a, b), handshake(b, a)]).toEqual([true, true]);
      const total = (node: Node) => node.exchange.counts.agreed + node.exchange.counts.answered;
      expect([total(a), total(b)]).toEqual([1, 1]);
    }
  });

  it('go on where the answer was lost, with the secret that one of them has by then', async () => {
    let lost = 0;
    nodes.fate = (_from, _to, method) => ({
      ...{ thereMs: 1, backMs: 1 },
      isLost: method === AGREE_METHOD && lost++ < 2 ? 'back' : undefined,
    });
    a.exchange.wanted(b.id);
    await nodes.clock.run(100);
    // The one that has answered can already begin, and the other takes that.
    expect([handshake(b, a), handshake(a, b)]).toEqual([true, undefined]);
    const given = b.used.get(a.id)!.respondWith;
    for (let i = 0; i < 10; i++) {
      a.exchange.wanted(b.id);
      await nodes.clock.run(1_000);
    }
    expect(state()).toEqual(['agreed', 'agreed']);
    expect(a.used.get(b.id)!.respondWith).toEqual(given);
    expect(b.exchange.counts.answered).toBe(1);
  });

  it('take no call that was overtaken by a later one, whatever became of that', async () => {
    let isFirst = true;
    nodes.fate = (from, _to, method) => {
      if (from === a) return { thereMs: 100, backMs: 100 };
      const thereMs = method === AGREE_METHOD && isFirst ? 3_800 : 1;
      if (method === AGREE_METHOD) isFirst = false;
      return { thereMs, backMs: 1 };
    };
    b.exchange.wanted(a.id);
    await nodes.clock.run(3_200);
    // The second call of the one meets the other asking, and is told so; then the first one comes.
    a.exchange.wanted(b.id);
    await nodes.clock.run(2_000);
    expect(state()).toEqual(['agreed', 'agreed']);
    expect([handshake(a, b), handshake(b, a)]).toEqual([true, true]);
    expect(a.exchange.counts).toMatchObject({ agreed: 1, answered: 0 });
  });

  it('say why there is no key, and stop asking once nothing waits any more', async () => {
    nodes.fate = () => ({ thereMs: 1, backMs: 1, isLost: 'there' });
    a.exchange.wanted(b.id);
    // Once is nothing to tell of.
    await nodes.clock.run(4_000);
    expect([a.exchange.state(b.id), a.exchange.problems()]).toEqual(['offered', []]);
    await nodes.clock.run(4_000);
    expect(a.exchange.state(b.id)).toBe('failed');
    expect(a.exchange.problems()).toEqual([
      'no post-quantum key with node-2, so that nothing is sent to it and nothing taken: no answer in time',
    ]);
    expect(a.used.size).toBe(0);
    nodes.dead.add(b.id);
    expect(a.exchange.problems()).toEqual([]);
    nodes.dead.clear();
    await nodes.clock.run(60_000);
    const { calls } = nodes;
    await nodes.clock.run(600_000);
    expect([nodes.calls, a.exchange.problems(), a.exchange.state(b.id)]).toEqual([calls, [], 'offered']);
    nodes.fate = () => ({ thereMs: 1, backMs: 1 });
    a.exchange.wanted(b.id);
    await nodes.clock.run(10);
    expect(state()).toEqual(['agreed', 'agreed']);
  });

  it('take no key but the one that the record names', async () => {
    a.exchange.wanted(b.id);
    b.exchange.answerKey({ id: a.id, name: 'a' });
    b.keyHash = new Uint8Array(32);
    await nodes.clock.run(4_000);
    expect(a.exchange.problems()[0]).toContain('the key that it sends is not the one in its record');
    expect([a.used.size, b.used.size]).toEqual([0, 0]);
  });

  it('take nothing of one that is not to have a session', async () => {
    nodes.gone.add(a.id);
    a.exchange.wanted(b.id);
    await nodes.clock.run(10_000);
    expect([a.used.get(b.id)!.accept, b.used.size]).toEqual([[], 0]);
    expect(a.exchange.problems()[0]).toContain('it makes no post-quantum key with this node');
  });

  it('use no key that both do not come to', async () => {
    b.mistaken.set(a.id, generateKeyPair().publicKey);
    a.exchange.wanted(b.id);
    await nodes.clock.run(5_000);
    expect([a.used.get(b.id)!.accept, b.used.size]).toEqual([[], 0]);
    expect(a.exchange.problems()[0]).toContain('the two nodes do not come to the same post-quantum key');
  });

  it('throw nothing but what the caller is to read, whatever comes', () => {
    for (const length of [0, 1, 100, 1_200, 5_000])
      expect(() => b.exchange.answerAgree(randomBytes(length), { id: a.id, name: 'a' })).toThrow(WarrenError);
    expect(b.used.size).toBe(0);
  });

  it('ask eight others at a time', async () => {
    nodes = new Nodes(9);
    for (let i = 0; i < 9; i++) expect(nodes.all[i]!.id).toHaveLength(32);
    const [first, ...others] = nodes.all;
    nodes.fate = () => ({ thereMs: 100, backMs: 100 });
    for (const other of others) first!.exchange.wanted(other.id);
    expect(nodes.calls).toBe(8);
    await nodes.clock.run(1_000);
    for (const other of others) expect(first!.exchange.state(other.id)).toBe('agreed');
  });
});

describe('a key', () => {
  const HOUR_MS = 3_600_000;

  beforeEach(async () => {
    a.exchange.wanted(b.id);
    await nodes.clock.run(1_000);
    a.inUse.add(b.id);
    b.inUse.add(a.id);
  });

  it('is renewed after a day while it is in use, and no handshake fails for that', async () => {
    const before = Buffer.from(a.used.get(b.id)!.respondWith!);
    const hash = b.keyHash;
    await nodes.clock.run(RENEW_AFTER_MS - 2_000);
    expect(a.used.get(b.id)!.respondWith).toEqual(before);
    for (let ms = 0; ms < 120_000; ms += 1) {
      if (ms % 60_000 > 50) {
        await nodes.clock.run(59_000);
        ms += 59_000;
      }
      nodes.clock.advance(1);
      await Promise.resolve();
      expect([handshake(a, b), handshake(b, a)]).toEqual([true, true]);
    }
    await nodes.clock.run(60_000);
    const after = a.used.get(b.id)!;
    expect(after.respondWith).not.toEqual(before);
    expect(after.accept).toContainEqual(before);
    expect(b.keyHash).not.toEqual(hash);
    expect([a.exchange.counts.agreed, b.exchange.counts.agreed]).toEqual([2, 0]);
    // The next but one overwrites it.
    await nodes.clock.run(RENEW_AFTER_MS + 600_000);
    for (const node of [a, b]) {
      const { accept } = node.used.get(node === a ? b.id : a.id)!;
      expect(accept).toHaveLength(2);
      expect(accept).not.toContainEqual(before);
    }
  });

  it('is renewed by the other where the one cannot, and stays in use meanwhile', async () => {
    nodes.fate = (from) => ({ thereMs: 1, backMs: 1, isLost: from === a ? 'there' : undefined });
    await nodes.clock.run(RENEW_AFTER_MS + 5 * 60_000);
    expect(a.exchange.problems()).toEqual([
      'the post-quantum key with node-2 cannot be renewed: no answer in time',
    ]);
    expect(state()).toEqual(['agreed', 'agreed']);
    expect([handshake(a, b), handshake(b, a)]).toEqual([true, true]);
    await nodes.clock.run(10 * 60_000);
    expect(b.exchange.counts.agreed).toBe(1);
    expect(a.exchange.problems()).toEqual([]);
    expect([handshake(a, b), handshake(b, a)]).toEqual([true, true]);
  });

  it('is forgotten where nobody talks by it any more', async () => {
    a.inUse.clear();
    b.inUse.clear();
    const { calls } = nodes;
    await nodes.clock.run(2 * RENEW_AFTER_MS + HOUR_MS);
    expect([a.used.size, b.used.size, nodes.calls]).toEqual([0, 0, calls]);
    b.exchange.wanted(a.id);
    await nodes.clock.run(10);
    expect([handshake(a, b), handshake(b, a)]).toEqual([true, true]);
  });

  it('is none any more when the other was started anew, and goes with the other', async () => {
    b.start();
    await nodes.clock.run(10);
    expect([a.used.size, b.used.size]).toEqual([0, 0]);
    a.exchange.wanted(b.id);
    await nodes.clock.run(10);
    expect([handshake(a, b), handshake(b, a)]).toEqual([true, true]);
    nodes.gone.add(b.id);
    a.exchange.peersChanged();
    await nodes.clock.run(10);
    expect(a.used.size).toBe(0);
  });
});

const HISTORIES = 25 * Number(process.env.WARREN_TEST_SCALE ?? 1);

it.each(Array.from({ length: HISTORIES }, (_, seed) => seed + 1))(
  'history %i of losses, delays, renewals and restarts ends with one key, and no answer is ever in vain',
  async (seed) => {
    const random: Random = seededRandom(seed);
    let quality = random() * 0.5;
    nodes.fate = () => ({
      thereMs: 1 + random() * (random() < 0.2 ? 8_000 : 50),
      backMs: 1 + random() * 50,
      isLost: random() < quality ? (random() < 0.5 ? 'there' : 'back') : undefined,
    });
    let restarts = 0;
    for (let step = 0; step < 150; step++) {
      const what = random();
      if (what < 0.3) a.exchange.wanted(b.id);
      else if (what < 0.6) b.exchange.wanted(a.id);
      else if (what < 0.62) [a, b][restarts++ % 2]!.start();
      else if (what < 0.66) {
        for (const node of nodes.all) for (const other of nodes.all) node.inUse.add(other.id);
        nodes.clock.advance(RENEW_AFTER_MS / 2);
      }
      const until = random() * 4_000;
      for (let ms = 0; ms < until; ms += 97) {
        await nodes.clock.run(97);
        for (const [one, other] of [
          [a, b],
          [b, a],
        ] as const) {
          // One that has no key says so, and is given one; but what it has, the other takes.
          if (other.used.get(one.id)?.respondWith) expect(handshake(one, other)).not.toBe(false);
        }
      }
    }
    quality = 0;
    for (let i = 0; i < 40; i++) {
      a.exchange.wanted(b.id);
      b.exchange.wanted(a.id);
      await nodes.clock.run(1_000);
    }
    expect(state()).toEqual(['agreed', 'agreed']);
    expect([handshake(a, b), handshake(b, a)]).toEqual([true, true]);
  },
);
