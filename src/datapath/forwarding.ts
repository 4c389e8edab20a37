/**
 * What the control thread tells the workers: who the peers are, who owns which prefix, and this node's own
 * addresses. Always the whole picture, as flat typed arrays, of which each worker gets a copy.
 */
import type { FdbSnapshot } from '../fdb/snapshot.ts';

/** int32 words of one VTEP in `ForwardingState.vteps`, at these offsets; the address takes four. */
export const VTEP = { flags: 0, port: 1, mtu: 2, address: 3 } as const;
export const VTEP_WORDS = 7;
/** The peer takes partial transport checksums (remote checksum offload, wire/vxlan-gpe.ts), and sends them. */
export const VTEP_PARTIAL_CHECKSUMS = 1;
/** Groups of datagrams (UDP_SEGMENT) do not arrive there whole: it is sent single ones. */
export const VTEP_SENT_SINGLY = 2;
/** Marks of congestion end there: datagrams to it are Not-ECT (RFC 6040, compatibility mode). */
export const VTEP_LOSES_MARKS = 4;
/** Datagrams to and from it are sealed, whatever else this node may send and take. */
export const VTEP_SEALED = 8;
/**
 * A guest: its addresses are of this node's own subnets, and other nodes know nothing of it. What it sends to them, and they to
 * it, comes out of one tunnel and goes into another; the kernel forwards it in between.
 */
export const VTEP_GUEST = 16;

export interface ForwardingState {
  /**
   * VTEP_WORDS per index; port 0 marks an index that is not in use, or a peer that has to be heard first. `mtu` is the inner
   * bytes that the path carries, as far as control knows (src/dataplane/path-mtus.ts). IPv4 addresses are IPv4-mapped (RFC 4291, section 2.5.5.2), so that one
   * table serves both families.
   */
  readonly vteps: Int32Array;
  readonly fdb: FdbSnapshot;
  /** This node's own overlay addresses. ICMP errors are sent in a family that has one (ICMPv6's come from it). */
  readonly ownIpv4: number | undefined;
  readonly ownIpv6: Int32Array | undefined;
  /** Of the echoes by which this agent measures paths. */
  readonly probeIdentifier: number;
  /**
   * UDP source port of this node's own datagrams that find out whether groups arrive: they leave in groups towards any
   * VTEP. Undefined: there are none.
   */
  readonly groupProbePort?: number | undefined;
}

/** The second last word of an IPv4-mapped IPv6 address. */
export const MAPPED_WORD = 0xffff;
