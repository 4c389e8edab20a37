/**
 * A keyed BLAKE2s of OpenSSL as the running program has it (EVP_MAC(3), EVP_MAC-BLAKE2(7); OpenSSL 3), for what has to be
 * hashed ten thousand times a second: 1 us for 116 bytes, where the one in JavaScript takes 6. As evp.ts has ciphers.
 */
import koffi from 'koffi';
import { Arena } from './arena.ts';

const KEY = 0;
const PARAMETERS = 64;
const SIZE_NAME = 256;
const SIZE = 272;
const OUTPUT_LENGTH = 280;
const OUTPUT = 288;
const NAME = 320;
const INPUT = 384;
const MAX_INPUT_BYTES = 512;
/** openssl/core.h: OSSL_PARAM, and OSSL_PARAM_UNSIGNED_INTEGER. */
const PARAMETER = { key: 0, type: 8, data: 16, dataBytes: 24, returned: 32, bytes: 40 } as const;
const UNSIGNED_INTEGER = 2;

/** For one key and one thread; the memory goes with the program. */
export interface KeyedBlake2s {
  /** Of at most 512 bytes, into `to`. False: OpenSSL could not. */
  mac(input: Uint8Array, to: Uint8Array): boolean;
}

/** Undefined where the program does not have it. `macBytes`: 1 to 32. */
export function findKeyedBlake2s(key: Uint8Array, macBytes: number): KeyedBlake2s | undefined {
  const memory = new Arena(INPUT + MAX_INPUT_BYTES);
  try {
    const library = koffi.load(null);
    const fetch = library.func(
      'uintptr_t EVP_MAC_fetch(uintptr_t library, uintptr_t name, uintptr_t properties)',
    );
    const newContext = library.func('uintptr_t EVP_MAC_CTX_new(uintptr_t mac)');
    const init = library.func(
      'int EVP_MAC_init(uintptr_t context, uintptr_t key, size_t bytes, uintptr_t parameters)',
    );
    const update = library.func('int EVP_MAC_update(uintptr_t context, uintptr_t data, size_t bytes)');
    const final = library.func(
      'int EVP_MAC_final(uintptr_t context, uintptr_t to, uintptr_t written, size_t room)',
    );
    memory.bytes.set(Buffer.from('BLAKE2SMAC\0'), NAME);
    memory.bytes.set(Buffer.from('size\0'), SIZE_NAME);
    memory.bytes.set(key, KEY);
    memory.setWord(SIZE, macBytes);
    memory.setPointer(PARAMETERS + PARAMETER.key, SIZE_NAME);
    memory.setWord(PARAMETERS + PARAMETER.type, UNSIGNED_INTEGER);
    memory.setPointer(PARAMETERS + PARAMETER.data, SIZE);
    memory.setWord(PARAMETERS + PARAMETER.dataBytes, 8);
    // The list ends with one that is all zero.
    const algorithm = fetch(0, memory.address(NAME), 0) as number;
    if (Number(algorithm) === 0) return undefined;
    const context = newContext(algorithm) as number;
    if (Number(context) === 0) return undefined;
    return {
      mac: (input, to) => {
        if (input.length > MAX_INPUT_BYTES) return false;
        memory.bytes.set(input, INPUT);
        const done =
          init(context, memory.address(KEY), key.length, memory.address(PARAMETERS)) === 1 &&
          update(context, memory.address(INPUT), input.length) === 1 &&
          final(context, memory.address(OUTPUT), memory.address(OUTPUT_LENGTH), 32) === 1;
        if (done) to.set(memory.bytes.subarray(OUTPUT, OUTPUT + macBytes));
        return done;
      },
    };
  } catch {
    return undefined;
  }
}
