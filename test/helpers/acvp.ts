/** NIST's ACVP vectors in OpenSSL's text form (test/vectors/README.md). */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** One vector: what stands before `=`, and the bytes behind it; `hexpub` and the like of CtrlOut by that name. */
export type AcvpVector = Readonly<Record<string, Buffer>>;

export function acvp(file: string): readonly AcvpVector[] {
  const text = gunzipSync(readFileSync(new URL(`../vectors/acvp/${file}`, import.meta.url))).toString();
  return text
    .split(/\n\n+/)
    .filter((block) => /^(Kem|KeyGen) = ML-KEM-768$/m.test(block))
    .map((block) =>
      Object.fromEntries(
        [...block.matchAll(/^(?:(\w+) = |Ctrl(?:Out)? = (\w+):)([0-9A-F]+)$/gm)].map(
          ([, name, ctrl, hex]) => [(name ?? ctrl)!, Buffer.from(hex!, 'hex')],
        ),
      ),
    );
}
