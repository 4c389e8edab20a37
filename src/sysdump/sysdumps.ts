/**
 * Sysdumps of this node and of others. Others are asked by `sysdump.collect`, whose answer is gzipped JSON in parts.
 * A log tells more than gossip does, so a node answers only under a cluster key.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import pLimit from 'p-limit';
import { errorMessage, WarrenError } from '../errors.ts';
import type { DumpFile, NodeDump, SysdumpReport } from '../readmodel/reports.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { z } from '../zod.ts';
import { collectSysdump, type DumpSources, MAX_FILE_CHARACTERS, MAX_NODE_CHARACTERS } from './collect.ts';
import { SYSDUMP_METHOD } from './method.ts';

const ASKED_AT_ONCE = 4;
const CALL_TIMEOUT_MS = 60_000;
const PART_BYTES = 256 * 1024;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** Characters may take several bytes, and JSON escapes some. */
const MAX_JSON_BYTES = 4 * MAX_NODE_CHARACTERS;
/** Of all nodes; those beyond it are named as left out. */
const MAX_ALL_CHARACTERS = 32 * 1024 * 1024;
const MAX_FILES = 64;

const filesSchema = z
  .array(
    z.object({
      // Another node chooses it, and it becomes a path in an archive.
      name: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,63}$/),
      text: z.string().max(MAX_FILE_CHARACTERS + 100),
    }),
  )
  .max(MAX_FILES);

export interface SysdumpOptions {
  readonly rpc: Rpc;
  readonly nodeName: string;
  /** Gossip and requests go under a cluster key. */
  readonly isSealed: boolean;
  readonly others: () => Iterable<{ readonly id: string; readonly name: string }>;
  readonly sources: DumpSources;
}

export class Sysdumps {
  readonly #options: SysdumpOptions;
  /** Whoever asks meanwhile gets the same one. */
  #collecting: Promise<DumpFile[]> | undefined;

  constructor(options: SysdumpOptions) {
    this.#options = options;
  }

  /** What another node gets. */
  async answer(): Promise<Iterable<Uint8Array>> {
    if (!this.#options.isSealed) {
      throw new WarrenError('KEY_NONE', 'this cluster has no key: a node tells its log to nobody', {
        hint: 'Run `warren sysdump` on each node.',
      });
    }
    return partsOf(gzipSync(JSON.stringify(await this.#own())));
  }

  /** This node's, and with `all` those of every other one that answers. */
  async report(all: boolean): Promise<SysdumpReport> {
    const { nodeName, others, rpc } = this.#options;
    const nodes: NodeDump[] = [{ node: nodeName, id: '', files: await this.#own() }];
    const unreachable: { node: string; reason: string }[] = [];
    if (!all) return { nodes, unreachable };
    let room = MAX_ALL_CHARACTERS;
    await pLimit(ASKED_AT_ONCE).map(others(), async ({ id, name }) => {
      try {
        if (room <= 0) throw new WarrenError('RPC_REFUSED', 'left out: the archive is full');
        const files = await ask(rpc, id);
        room -= files.reduce((sum, { text }) => sum + text.length, 0);
        nodes.push({ node: name, id, files });
      } catch (error) {
        unreachable.push({ node: name, reason: errorMessage(error) });
      }
    });
    return { nodes, unreachable };
  }

  #own(): Promise<DumpFile[]> {
    this.#collecting ??= collectSysdump(this.#options.sources).finally(() => {
      this.#collecting = undefined;
    });
    return this.#collecting;
  }
}

async function ask(rpc: Rpc, id: string): Promise<DumpFile[]> {
  const parts = await rpc.call(id, SYSDUMP_METHOD, new Uint8Array(), {
    timeoutMs: CALL_TIMEOUT_MS,
    maxAnswerBytes: MAX_ANSWER_BYTES,
  });
  try {
    const json = gunzipSync(Buffer.concat(parts), { maxOutputLength: MAX_JSON_BYTES });
    return filesSchema.parse(JSON.parse(json.toString('utf8')));
  } catch (cause) {
    throw new WarrenError('RPC_REFUSED', "the node's answer makes no sense", { cause });
  }
}

function* partsOf(bytes: Uint8Array): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PART_BYTES) yield bytes.subarray(at, at + PART_BYTES);
}
