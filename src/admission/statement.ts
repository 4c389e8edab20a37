/**
 * One approver's word about one node: it is approved, or revoked. Signed, and passed on byte for byte; where others
 * disagree, the higher version counts (statements.ts).
 *
 * The signature covers the name of the cluster, so that a statement means nothing in another one.
 */
import {
  type Identity,
  idOfPublicKey,
  PUBLIC_KEY_BYTES,
  SIGNATURE_BYTES,
  verifySignature,
} from '../identity.ts';
import {
  bytesField,
  check,
  type Decoded,
  guarded,
  idField,
  integerField,
  messageField,
  nameField,
  type Raw,
  rawId,
  UINT32_MAX,
} from '../protobuf/fields.ts';
import { messageTypeOf } from '../protobuf/message-type.ts';

/** The longest name and all else at its largest take less. */
export const MAX_STATEMENT_BYTES = 160;
export const MAX_VERSION = UINT32_MAX;

export type Verdict = 'approved' | 'revoked';

export interface Statement {
  /** Who says it: the id of `approverKey`. */
  readonly approver: string;
  /** Raw Ed25519 key. */
  readonly approverKey: Uint8Array;
  /** The node's id. */
  readonly node: string;
  readonly verdict: Verdict;
  /** From 1; one more than the highest that the approver knew about this node. */
  readonly version: number;
  /** What the node was called then, for people; empty: it was not known. */
  readonly name: string;
  /** Seconds since 1970 on the approver's clock, for people. */
  readonly atSeconds: number;
}

/** As it travels and is kept: the exact bytes that were signed. */
export interface SignedStatement {
  readonly bytes: Uint8Array;
  readonly signature: Uint8Array;
}

const statementType = messageTypeOf('gossip.proto', 'warren.gossip.v1.AdmissionStatement');

export function signStatement(
  identity: Identity,
  clusterName: string,
  content: Omit<Statement, 'approver' | 'approverKey'>,
): { readonly statement: Statement; readonly signed: SignedStatement } {
  const statement: Statement = { ...content, approver: identity.id, approverKey: identity.publicKey };
  const bytes = encodeStatement(statement);
  return { statement, signed: { bytes, signature: identity.sign(signedBytes(clusterName, bytes)) } };
}

/** Whether the approver signed exactly these bytes for this cluster; about 0.1 ms. */
export function verifyStatement(
  clusterName: string,
  statement: Statement,
  { bytes, signature }: SignedStatement,
): boolean {
  return verifySignature(statement.approverKey, signedBytes(clusterName, bytes), signature);
}

/** Checks every field; the signature is the caller's to verify, once it knows that the statement is news. */
export function decodeStatement(bytes: Uint8Array): Decoded<Statement> {
  return guarded(() => {
    check(bytes.length <= MAX_STATEMENT_BYTES);
    const raw = statementType.decode(bytes) as unknown as Raw;
    const approverKey = bytesField(raw.approver, PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES);
    return {
      approver: idOfPublicKey(approverKey),
      approverKey,
      node: idField(raw.node),
      verdict: raw.revoked === true ? 'revoked' : 'approved',
      version: integerField(raw.version, 1, MAX_VERSION),
      name: raw.name === '' ? '' : nameField(raw.name),
      atSeconds: integerField(raw.time, 0, UINT32_MAX),
    };
  });
}

/** Lengths only: what is inside is checked by `decodeStatement`. */
export function signedStatementField(value: unknown): SignedStatement {
  const raw = messageField(value);
  return {
    bytes: bytesField(raw.statement, 1, MAX_STATEMENT_BYTES),
    signature: bytesField(raw.signature, SIGNATURE_BYTES, SIGNATURE_BYTES),
  };
}

function encodeStatement(statement: Statement): Uint8Array {
  const raw = {
    approver: statement.approverKey,
    node: rawId(statement.node),
    revoked: statement.verdict === 'revoked',
    version: statement.version,
    name: statement.name,
    time: statement.atSeconds,
  };
  return new Uint8Array(statementType.encode(raw).finish());
}

function signedBytes(clusterName: string, statement: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`warren admission 1\n${clusterName}\n`), statement]);
}
