#!/usr/bin/env node
/**
 * The CNI plugin as a process: environment and standard input in, standard output and an exit code out. Both are used by
 * plain system calls: the streams of `process` cost every container 2 ms.
 */
import { readSync, writeSync } from 'node:fs';
import { thisCaller } from '../cni/caller.ts';
import { runPlugin } from '../cni/plugin.ts';

/** A list of the attachments of a full node has some 400 KB. */
const MAX_INPUT_BYTES = 4 * 1024 * 1024;

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const take = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_INPUT_BYTES) throw new Error(`it has more than ${MAX_INPUT_BYTES} bytes`);
    chunks.push(chunk);
  };
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(64 * 1024);
      const count = readSync(0, chunk);
      if (count === 0) break;
      take(chunk.subarray(0, count));
    }
  } catch (error) {
    // Whoever started it has made the pipe a non-blocking one.
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) take(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Resolves when all of it is written. Rejects where nobody reads it, which is EPIPE. */
function writeOutput(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(text);
    let at = 0;
    try {
      while (at < bytes.length) at += writeSync(1, bytes, at);
      resolve();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      // The rest is written by and by.
      process.stdout.once('error', reject);
      process.stdout.write(bytes.subarray(at), () => resolve());
    }
  });
}

void runPlugin(process.env, readInput, { caller: thisCaller() }).then(async ({ exitCode, text, undo }) => {
  process.exitCode = exitCode;
  try {
    await writeOutput(text);
  } catch {
    process.exitCode = 1;
    await undo?.();
  }
  // Nothing is under way any more: to find that out takes a millisecond.
  process.exit();
});
