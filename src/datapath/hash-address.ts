/** Where an address of four words (IPv4 as mapped) belongs in a hash table. */

/** The finishing mix of MurmurHash3 (public domain), over the words combined. */
export function hashAddress(word0: number, word1: number, word2: number, word3: number): number {
  let mixed =
    Math.imul(word0 ^ Math.imul(word1 ^ Math.imul(word2, 0x9e3779b1), 0x85ebca6b), 0xc2b2ae35) ^ word3;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
