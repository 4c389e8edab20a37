/** A thread that runs the parts it is given, one after the other (pool.ts). */
import { parentPort } from 'node:worker_threads';
import { type Part, runPart } from './parts.ts';

const port = parentPort!;
port.on('message', async (part: Part) => {
  // What is thrown ends the thread, and the pool hears of it.
  port.postMessage(await runPart(part));
});
