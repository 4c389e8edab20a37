/**
 * Netlink messages (linux/netlink.h, struct nlmsghdr). A datagram holds one or more of them, each at a multiple of
 * four bytes; all fields are in the machine's byte order, little-endian.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------------------------------------------------------+
 *     |             length, these 16 bytes included                   |
 *     +-------------------------------+-------------------------------+
 *     |             type              |             flags             |
 *     +-------------------------------+-------------------------------+
 *     |             sequence number: an answer has its request's      |
 *     +---------------------------------------------------------------+
 *     |             port: 0 is the kernel                             |
 *     +---------------------------------------------------------------+
 *     |             the type's own fixed header, then attributes      |
 *
 * An answer of type NLMSG_ERROR starts with an int32, 0 or a negative errno, and the header of what was asked. Where
 * NLM_F_ACK_TLVS is set, attributes follow that explain it; without NLM_F_CAPPED they stand behind the whole of what
 * was asked.
 */
import { align, attributes, readText, viewOf } from './attribute.ts';
import { NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ERROR, NLMSGERR_ATTR_MSG } from './constants.ts';
import { malformed } from './error.ts';

export const NLMSGHDR_BYTES = 16;

/** A message that is to be sent. */
export interface Request {
  readonly type: number;
  /** Beside NLM_F_REQUEST. */
  readonly flags: number;
  /** The type's own header and attributes. */
  readonly body: Uint8Array;
}

/** A message that came. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Uint8Array;
}

export interface Acknowledgement {
  /** 0: it is done; else the positive errno. */
  readonly errno: number;
  /** The kernel's own words. */
  readonly detail: string | undefined;
}

/** One message as bytes. `flags` are all that it has. */
export function encodeMessage(type: number, flags: number, sequence: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(align(NLMSGHDR_BYTES + body.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, NLMSGHDR_BYTES + body.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, sequence, true);
  bytes.set(body, NLMSGHDR_BYTES);
  return bytes;
}

/** The messages of a datagram. Throws NETLINK_MALFORMED. Their bodies are parts of `datagram`. */
export function decodeMessages(datagram: Uint8Array): Message[] {
  const view = viewOf(datagram);
  const messages: Message[] = [];
  let offset = 0;
  while (offset + NLMSGHDR_BYTES <= datagram.length) {
    const length = view.getUint32(offset, true);
    if (length < NLMSGHDR_BYTES || offset + length > datagram.length) {
      throw malformed(`a message of ${length} bytes where ${datagram.length - offset} are left`);
    }
    messages.push({
      type: view.getUint16(offset + 4, true),
      flags: view.getUint16(offset + 6, true),
      sequence: view.getUint32(offset + 8, true),
      body: datagram.subarray(offset + NLMSGHDR_BYTES, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** What a message of type NLMSG_ERROR, or the NLMSG_DONE of a dump, says. */
export function decodeAcknowledgement(message: Message): Acknowledgement {
  const { type, flags, body } = message;
  if (body.length < 4) throw malformed('an acknowledgement without a result');
  const errno = -viewOf(body).getInt32(0, true);
  if ((flags & NLM_F_ACK_TLVS) === 0) return { errno, detail: undefined };
  let offset = 4;
  if (type === NLMSG_ERROR) {
    if (body.length < 4 + NLMSGHDR_BYTES) throw malformed('an acknowledgement without a header');
    const asked = viewOf(body).getUint32(4, true);
    offset += (flags & NLM_F_CAPPED) === 0 ? align(asked) : NLMSGHDR_BYTES;
  }
  if (offset > body.length) throw malformed('an acknowledgement that is cut off');
  const detail = readText(attributes(body.subarray(offset)).get(NLMSGERR_ATTR_MSG));
  return { errno, detail: detail === '' ? undefined : detail };
}
