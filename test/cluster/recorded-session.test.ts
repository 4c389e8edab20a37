/**
 * Somebody records all that goes between two nodes: what their records say, the calls by which they agree on a key (the cluster
 * key has leaked), handshakes and data. Later a quantum computer gives them every X25519 private key there was: of
 * the tunnel, of handshakes, of X-Wing. With post-quantum keys that opens nothing; without it opens everything, and
 * so it does with the one ML-KEM private key, which shows that nothing else was missing.
 */
import { createDecipheriv, createHash } from 'node:crypto';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { claimedInitiation } from '../../src/encapsulation/wireguard/handshake.ts';
import { readInitiationPayload, writeResponse } from '../../src/encapsulation/wireguard/noise.ts';
import { type KeyPair, sharedSecret } from '../../src/encapsulation/wireguard/x25519.ts';
import type { MlKemKey } from '../../src/post-quantum/ml-kem.ts';
import * as mlKem from '../../src/post-quantum/ml-kem.ts';
import { pairKey } from '../../src/post-quantum/pair-key.ts';
import { World, type WorldNode } from './world.ts';

/** What the quantum computer finds, and what the calls said. */
const known = vi.hoisted(() => ({
  x25519: [] as KeyPair[],
  mlKem: [] as MlKemKey[],
  publicKeys: [] as Uint8Array[],
  ciphertexts: [] as Uint8Array[],
}));

vi.mock('../../src/encapsulation/wireguard/x25519.ts', async (original) => {
  const module = await original<typeof import('../../src/encapsulation/wireguard/x25519.ts')>();
  const kept = (pair: KeyPair) => {
    known.x25519.push(pair);
    return pair;
  };
  return {
    ...module,
    generateKeyPair: () => kept(module.generateKeyPair()),
    keyPairOf: (privateKey: Uint8Array) => kept(module.keyPairOf(privateKey)),
  };
});
vi.mock('../../src/post-quantum/ml-kem-noble.ts', async (original) => {
  const { nobleMlKem } = await original<typeof import('../../src/post-quantum/ml-kem-noble.ts')>();
  const generate = () => {
    const key = nobleMlKem.generate();
    known.mlKem.push(key);
    return key;
  };
  return { nobleMlKem: { ...nobleMlKem, generate } };
});
vi.mock('../../src/post-quantum/messages.ts', async (original) => {
  const module = await original<typeof import('../../src/post-quantum/messages.ts')>();
  return {
    ...module,
    encodePublicKey: (key: Uint8Array) => {
      known.publicKeys.push(Uint8Array.from(key));
      return module.encodePublicKey(key);
    },
    encodeAgree: (agree: Parameters<typeof module.encodeAgree>[0]) => {
      known.ciphertexts.push(Uint8Array.from(agree.ciphertext));
      return module.encodeAgree(agree);
    },
  };
});

const SECRET = Buffer.from('what nobody else is to read');
const ZERO = Buffer.alloc(32);
let world: World;

beforeEach(() => {
  for (const list of Object.values(known)) list.length = 0;
  world = new World(3);
});
afterEach(() => world.stop());

/** Two nodes talk; what is said is in `SECRET`. */
async function record(encapsulation: string): Promise<readonly WorldNode[]> {
  const nodes = [world.add(), world.add()];
  for (const node of nodes) node.encapsulation = encapsulation;
  for (const node of nodes) await node.start();
  await world.settle();
  const [web, db] = [await nodes[0]!.addPod('web'), await nodes[1]!.addPod('db')];
  const source = web.addresses.find((address) => !address.includes(':'))!;
  const packet = Buffer.from(web.send(db.addresses[0]!, { bytes: 200, source }));
  await world.advance(1_000);
  SECRET.copy(packet, packet.length - SECRET.length);
  nodes[0]!.host.send(packet);
  await world.advance(1_000);
  expect(db.received.some((one) => Buffer.from(one).includes(SECRET))).toBe(true);
  return nodes;
}

const privateOf = (publicKey: Uint8Array) =>
  known.x25519.find((pair) => Buffer.compare(pair.publicKey, publicKey) === 0);

/** The packets that open by one of these pre-shared keys, and all private keys of X25519. */
function opened(presharedKeys: readonly Uint8Array[]): Buffer[] {
  const datagrams = world.carried.map(({ bytes }) => Buffer.from(bytes));
  const initiations = datagrams.filter((datagram) => datagram[0] === 1);
  const responses = datagrams.filter((datagram) => datagram[0] === 2);
  expect([initiations.length, responses.length].every((count) => count > 0)).toBe(true);
  const packets: Buffer[] = [];
  for (const response of responses) {
    const initiation = initiations.find((one) => one.readUInt32LE(4) === response.readUInt32LE(8))!;
    const ephemeral = privateOf(response.subarray(12, 44))!;
    for (const presharedKey of presharedKeys) {
      for (const own of known.x25519) {
        const claimed = claimedInitiation(own, initiation);
        if (!claimed || !readInitiationPayload(claimed, own)) continue;
        const written = writeResponse(claimed, { ephemeral, presharedKey, payload: Buffer.alloc(0) })!;
        // The true key gives the very message that was recorded.
        if (Buffer.compare(written.message.subarray(0, 48), response.subarray(12, 60)) !== 0) continue;
        for (const key of [written.keys.send, written.keys.receive])
          packets.push(...datagrams.flatMap((datagram) => open(key, datagram) ?? []));
      }
    }
  }
  return packets;
}

function open(key: Buffer, datagram: Buffer): Buffer | undefined {
  if (datagram[0] !== 4) return undefined;
  const nonce = Buffer.concat([Buffer.alloc(4), datagram.subarray(8, 16)]);
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
  decipher.setAuthTag(datagram.subarray(-16));
  const packet = decipher.update(datagram.subarray(16, -16));
  try {
    decipher.final();
    return packet;
  } catch {
    return undefined;
  }
}

/** Each key that a pair can have agreed on, if ML-KEM had given `quantumSafe`. */
function pairKeys(
  nodes: readonly WorldNode[],
  quantumSafe: (ciphertext: Uint8Array) => Uint8Array,
): Buffer[] {
  const parties = nodes.map(({ model }) => {
    const { node, encapsulation } = model.status();
    return { id: node.id, tunnelKey: Buffer.from(encapsulation.publicKey!, 'base64') };
  });
  const keys: Buffer[] = [];
  for (const ciphertext of known.ciphertexts) {
    for (const publicKey of known.publicKeys) {
      const [x, own] = [
        ciphertext.subarray(mlKem.CIPHERTEXT_BYTES),
        publicKey.subarray(mlKem.PUBLIC_KEY_BYTES),
      ];
      const classical = sharedSecret(privateOf(own)!.privateKey, x)!;
      const hash = createHash('sha3-256');
      const label = Buffer.from('\\.//^\\');
      for (const part of [
        quantumSafe(ciphertext.subarray(0, mlKem.CIPHERTEXT_BYTES)),
        classical,
        x,
        own,
        label,
      ])
        hash.update(part);
      const secret = hash.digest();
      for (const [asker, asked] of [parties, [...parties].reverse()] as const)
        keys.push(pairKey(Buffer.from(secret), asker!, asked!, ciphertext).key);
    }
  }
  expect(keys.length).toBeGreaterThan(0);
  return keys;
}

/** Everything of 32 bytes that the recording has, or that X25519 gives with any of its keys. */
function guesses(nodes: readonly WorldNode[]): Uint8Array[] {
  const agreements = known.x25519.flatMap(({ privateKey }) =>
    known.x25519.map(({ publicKey }) => sharedSecret(privateKey, publicKey)!),
  );
  const said = [...known.publicKeys, ...known.ciphertexts];
  const pieces = said.flatMap((bytes) =>
    Array.from({ length: bytes.length / 32 }, (_, i) => bytes.subarray(32 * i, 32 * (i + 1))),
  );
  const hashes = said.map((bytes) => createHash('sha256').update(bytes).digest());
  const keys = [...agreements, ...pieces, ...hashes].flatMap((secret) => pairKeys(nodes, () => secret));
  return [ZERO, ...agreements, ...pieces, ...hashes, ...keys];
}

it('opens by its X25519 keys where post-quantum keys are off', async () => {
  await record('type: wireguard, postQuantum: off');
  expect(opened([ZERO]).some((packet) => packet.includes(SECRET))).toBe(true);
});

it('does not open by every X25519 key there was where they are on', async () => {
  const nodes = await record('type: wireguard');
  expect(nodes[0]!.model.peers()[0]!.postQuantum).toBe('agreed');
  expect(opened(guesses(nodes))).toEqual([]);
}, 60_000);

it('opens by those and the one key of ML-KEM, so that nothing else keeps it closed', async () => {
  const nodes = await record('type: wireguard');
  const byMlKem = known.mlKem.flatMap((key) => pairKeys(nodes, (ciphertext) => key.decapsulate(ciphertext)!));
  expect(opened(byMlKem).some((packet) => packet.includes(SECRET))).toBe(true);
});
