#!/usr/bin/env node
/** The CNI plugin as a process: environment and standard input in, standard output and an exit code out. */
import { runPlugin } from '../cni/plugin.ts';

/** A list of the attachments of a full node has some 400 KB. */
const MAX_INPUT_BYTES = 4 * 1024 * 1024;

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_INPUT_BYTES) throw new Error(`it has more than ${MAX_INPUT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

void runPlugin(process.env, readInput).then(({ exitCode, text }) => {
  process.exitCode = exitCode;
  process.stdout.write(text);
});
