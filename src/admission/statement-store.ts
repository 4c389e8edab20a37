/** The statements on disk: with them a node that restarts knows whom to believe before anybody has told it anything. */
import { join } from 'node:path';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';
import type { SignedStatement } from './statement.ts';
import { MAX_APPROVERS, MAX_STATEMENTS_PER_APPROVER } from './statements.ts';

export interface StatementStore {
  load(): readonly SignedStatement[];
  /** Durable when it returns. */
  save(statements: readonly SignedStatement[]): void;
}

const base64 = z.base64().max(512);
const storedSchema = z.object({
  statements: z
    .array(z.object({ statement: base64, signature: base64 }))
    .max(MAX_APPROVERS * MAX_STATEMENTS_PER_APPROVER),
});

/** Keeps them in `stateDir`/admission.json, which is not there before there is one. */
export function fileStatementStore(stateDir: string): StatementStore {
  const path = join(stateDir, 'admission.json');
  return {
    load: () =>
      (readStateFile(path, storedSchema, 'who may be in the cluster')?.statements ?? []).map(
        ({ statement, signature }) => ({ bytes: fromBase64(statement), signature: fromBase64(signature) }),
      ),
    save: (statements) =>
      writeStateFile(path, {
        statements: statements.map(({ bytes, signature }) => ({
          statement: toBase64(bytes),
          signature: toBase64(signature),
        })),
      }),
  };
}

/** For tests and the simulator. */
export function volatileStatementStore(): StatementStore {
  let kept: readonly SignedStatement[] = [];
  return {
    load: () => kept,
    save: (statements) => {
      kept = statements;
    },
  };
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}
