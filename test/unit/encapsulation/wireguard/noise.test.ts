/** The Noise pattern against published vectors, with prologues and payloads of all kinds. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { seal } from '../../../../src/encapsulation/wireguard/handshake-aead.ts';
import {
  readInitiationPayload,
  readInitiator,
  readResponse,
  writeInitiation,
  writeResponse,
} from '../../../../src/encapsulation/wireguard/noise.ts';
import { keyPairOf } from '../../../../src/encapsulation/wireguard/x25519.ts';
import { hex } from '../../../helpers/wycheproof.ts';

const VECTORS = readFileSync(
  new URL('../../../vectors/noise/ikpsk2-25519-chachapoly-blake2s.txt', import.meta.url),
  'utf8',
)
  .trim()
  .split('\n\n')
  .map((set) => Object.fromEntries(set.split('\n').map((line) => line.split('=') as [string, string])));

/** The nonce of a transport message: 32 zero bits, then its number. */
function nonceOf(counter: number): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32LE(counter, 4);
  return nonce;
}

describe('Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s', () => {
  it('has four sets of vectors', () => expect(VECTORS.length).toBe(4));

  it.each(VECTORS)('says what vector $# says, and derives its keys', (vector) => {
    const bytes = (name: string): Buffer => hex(vector[name] ?? '');
    const prologue = bytes('prologue');
    const presharedKey = bytes('preshared_key');
    const initiator = keyPairOf(bytes('init_static'));
    const responder = keyPairOf(bytes('resp_static'));
    const ephemeral = keyPairOf(bytes('gen_init_ephemeral'));

    const sent = writeInitiation({
      prologue,
      own: initiator,
      ephemeral,
      responder: responder.publicKey,
      payload: bytes('msg_0_payload'),
    })!;
    expect(sent.message.toString('hex')).toBe(vector.msg_0_ciphertext);

    const claimed = readInitiator(prologue, responder, sent.message)!;
    expect(claimed.initiator).toEqual(initiator.publicKey);
    expect(readInitiationPayload(claimed, responder)).toEqual(bytes('msg_0_payload'));
    const answer = writeResponse(claimed, {
      ephemeral: keyPairOf(bytes('gen_resp_ephemeral')),
      presharedKey,
      payload: bytes('msg_1_payload'),
    })!;
    expect(answer.message.toString('hex')).toBe(vector.msg_1_ciphertext);

    const done = readResponse(
      { own: initiator, ephemeral, transcript: sent.transcript },
      [Buffer.alloc(32, 1), presharedKey],
      answer.message,
    )!;
    expect(done.payload).toEqual(bytes('msg_1_payload'));
    expect(done.keys.send).toEqual(answer.keys.receive);
    expect(done.keys.receive).toEqual(answer.keys.send);
    const none = Buffer.alloc(0);
    expect(seal(done.keys.send, bytes('msg_2_payload'), none, nonceOf(0)).toString('hex')).toBe(
      vector.msg_2_ciphertext,
    );
    expect(seal(answer.keys.send, bytes('msg_3_payload'), none, nonceOf(0)).toString('hex')).toBe(
      vector.msg_3_ciphertext,
    );
  });
});
