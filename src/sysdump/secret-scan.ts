/**
 * The second barrier of a sysdump: nothing that goes in may hold a secret of this node. The first one is that only named
 * files and reports go in at all; this one is for what they hold by mistake, such as a key in a line of the log.
 */

/** Shorter ones would be found everywhere. */
const MIN_SECRET_BYTES = 16;

export class SecretScan {
  readonly #needles: readonly Buffer[];

  constructor(secrets: readonly Uint8Array[]) {
    this.#needles = secrets.filter(({ length }) => length >= MIN_SECRET_BYTES).flatMap(formsOf);
  }

  /** Whether `text` holds a secret in one of the forms that programs write bytes in. */
  finds(text: string | Uint8Array): boolean {
    const bytes = typeof text === 'string' ? Buffer.from(text) : Buffer.from(text);
    return this.#needles.some((needle) => bytes.includes(needle));
  }
}

function formsOf(secret: Uint8Array): Buffer[] {
  const bytes = Buffer.from(secret);
  const hex = bytes.toString('hex');
  const base64 = [0, 1, 2].map((before) => base64Within(bytes, before));
  return [
    bytes,
    // Bytes that were taken for text.
    Buffer.from(bytes.toString('latin1')),
    ...[hex, hex.toUpperCase(), bytes.join(','), bytes.join(', ')].map((text) => Buffer.from(text)),
    ...[...base64, ...base64.map(urlSafe)].map((text) => Buffer.from(text)),
  ];
}

/**
 * The characters that `secret` has in the base64 of something longer, `before` bytes (modulo 3) from its start: those
 * that depend on nothing but the secret. A key in PKCS #8 is such a one.
 */
function base64Within(secret: Buffer, before: number): string {
  const whole = Buffer.concat([Buffer.alloc(before), secret]);
  const first = Math.ceil((before * 8) / 6);
  const end = Math.floor((whole.length * 8) / 6);
  return whole.toString('base64').slice(first, end);
}

function urlSafe(base64: string): string {
  return base64.replaceAll('+', '-').replaceAll('/', '_');
}
