#!/usr/bin/env node
/**
 * The CNI plugin as a process: environment and standard input in, standard output and an exit code out. Both are used by
 * plain system calls: the streams of `process` cost every container 2 ms.
 */
import { readSync, writeSync } from 'node:fs';
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

/** False: the rest is written by and by. */
function writeOutput(text: string): boolean {
  const bytes = Buffer.from(text);
  let at = 0;
  try {
    while (at < bytes.length) at += writeSync(1, bytes, at);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    process.stdout.write(bytes.subarray(at));
    return false;
  }
}

void runPlugin(process.env, readInput).then(({ exitCode, text }) => {
  process.exitCode = exitCode;
  // Nothing is under way any more: to find that out takes a millisecond.
  if (writeOutput(text)) process.exit();
});
