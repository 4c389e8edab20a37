/** The Internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit words. */

/** Adds `bytes` bytes at `offset` to a running sum; an odd last byte is padded with zero (RFC 1071, 1). */
export function checksumAdd(sum: number, view: DataView, offset: number, bytes: number): number {
  const end = offset + (bytes & ~1);
  let total = sum;
  for (let at = offset; at < end; at += 2) total += view.getUint16(at);
  if (bytes & 1) total += view.getUint8(end) << 8;
  return total;
}

/** Folds a running sum to 16 bits and complements it: what stands in a header's checksum field. */
export function checksumFinish(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

export function checksum(view: DataView, offset: number, bytes: number): number {
  return checksumFinish(checksumAdd(0, view, offset, bytes));
}
