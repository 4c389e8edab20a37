/**
 * OpenSSL's encryption as the running program has it: Node's binary exports OpenSSL's functions (a build with a shared
 * OpenSSL brings the library's). Calling them on memory whose address is known takes 1.3 us for 1,400 bytes of
 * ChaCha20-Poly1305; node:crypto, with an object and three buffers for each, takes 5.5.
 *
 * Pointers are plain numbers, as in libc.ts. The prototypes are those of OpenSSL 1.1 and 3 (EVP_EncryptInit(3)), which
 * BoringSSL has too. A program need not have them, so they are looked for when asked for.
 */
import koffi from 'koffi';

/** Commands of EVP_CIPHER_CTX_ctrl (openssl/evp.h). */
export const EVP_CTRL_AEAD_GET_TAG = 0x10;
export const EVP_CTRL_AEAD_SET_TAG = 0x11;

/** Each returns 1 if it did what it says, but for those that return a pointer, or nothing. */
export interface Evp {
  /** A pointer to the cipher; it is a constant of the library. */
  chacha20Poly1305(): number;
  newContext(): number;
  /** Overwrites the key, too. */
  freeContext(context: number): void;
  /** `cipher`, `key`, `nonce`: 0 leaves what is there. */
  encryptInit(context: number, cipher: number, engine: number, key: number, nonce: number): number;
  decryptInit(context: number, cipher: number, engine: number, key: number, nonce: number): number;
  /** Writes how many bytes it wrote, an int, to `writtenAt`. */
  encryptUpdate(context: number, to: number, writtenAt: number, from: number, bytes: number): number;
  decryptUpdate(context: number, to: number, writtenAt: number, from: number, bytes: number): number;
  encryptFinal(context: number, to: number, writtenAt: number): number;
  decryptFinal(context: number, to: number, writtenAt: number): number;
  control(context: number, command: number, argument: number, pointer: number): number;
  /** A thread's list of errors, which one that is expected must not stay in. */
  clearErrors(): void;
}

/** Undefined where the program does not export them. */
export function findEvp(): Evp | undefined {
  const library = koffi.load(null);
  const updates = '(uintptr_t context, uintptr_t to, uintptr_t writtenAt, uintptr_t from, int bytes)';
  const inits = '(uintptr_t context, uintptr_t cipher, uintptr_t engine, uintptr_t key, uintptr_t nonce)';
  const finals = '(uintptr_t context, uintptr_t to, uintptr_t writtenAt)';
  try {
    return {
      chacha20Poly1305: library.func('uintptr_t EVP_chacha20_poly1305()'),
      newContext: library.func('uintptr_t EVP_CIPHER_CTX_new()'),
      freeContext: library.func('void EVP_CIPHER_CTX_free(uintptr_t context)'),
      encryptInit: library.func(`int EVP_EncryptInit_ex${inits}`),
      decryptInit: library.func(`int EVP_DecryptInit_ex${inits}`),
      encryptUpdate: library.func(`int EVP_EncryptUpdate${updates}`),
      decryptUpdate: library.func(`int EVP_DecryptUpdate${updates}`),
      encryptFinal: library.func(`int EVP_EncryptFinal_ex${finals}`),
      decryptFinal: library.func(`int EVP_DecryptFinal_ex${finals}`),
      control: library.func(
        'int EVP_CIPHER_CTX_ctrl(uintptr_t context, int command, int argument, uintptr_t pointer)',
      ),
      clearErrors: library.func('void ERR_clear_error()'),
    };
  } catch {
    return undefined;
  }
}
