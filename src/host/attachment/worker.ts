/**
 * The namespace thread: carries out the operations on attachments one after the other. The kernel's RTNL lock, which
 * every change of the network waits for, then blocks this thread and never the control thread.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { AttachmentLink } from '../../attachment/link.ts';
import { errorMessage, WarrenError } from '../../errors.ts';
import { AttachmentHost } from './attachment-host.ts';
import { Journal } from './journal.ts';
import type {
  FromThread,
  OperationName,
  SourceCheckMode,
  ThreadSettings,
  ToThread,
} from './thread-messages.ts';

const settings = workerData as ThreadSettings;
const journal = new Journal(settings.journal);
let host: AttachmentHost | undefined;
/** What waits for its turn. Bounded by what the control thread lets in. */
const waiting: ToThread[] = [];
let isWorking = false;
/** Of interfaces that are deleted at once: others wait meanwhile. */
const MAX_REMOVED = 64;

parentPort!.on('message', (message: ToThread) => {
  waiting.push(message);
  if (!isWorking) void work();
});

async function work(): Promise<void> {
  isWorking = true;
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const together = next.name === 'remove' ? [next, ...removalsBehind()] : [next];
    if (together.length > 1) deleteLinks(together);
    for (const message of together) await answer(message);
  }
  isWorking = false;
}

/** Takes the removals that wait right behind one. */
function removalsBehind(): ToThread[] {
  takeMessages();
  const other = waiting.findIndex(({ name }) => name !== 'remove');
  return waiting.splice(0, Math.min(other < 0 ? waiting.length : other, MAX_REMOVED - 1));
}

/** Those that have come while the last operation blocked this thread. */
function takeMessages(): void {
  for (;;) {
    const received = receiveMessageOnPort(parentPort!);
    if (received === undefined) return;
    waiting.push(received.message as ToThread);
  }
}

/** Deletes the interfaces of several removals at once; each then finds nothing left to delete. */
function deleteLinks(removals: readonly ToThread[]): void {
  try {
    host ??= newHost();
    host.deleteLinks(removals.map(({ args }) => args[0] as string));
  } catch {
    // Each of them tries for itself, and says what is wrong.
  }
}

async function answer({ id, name, args }: ToThread): Promise<void> {
  try {
    // Here, so that a namespace that is not there is an error of the request.
    host ??= newHost();
    post({ id, result: await carryOut(host, id, name, args) });
  } catch (error) {
    const { code, hint } = error instanceof WarrenError ? error : { code: undefined, hint: undefined };
    post({ id, error: { code, message: errorMessage(error), hint } });
  }
}

function newHost(): AttachmentHost {
  return new AttachmentHost(settings.netns, journal, (warning) => post({ warning }));
}

function carryOut(to: AttachmentHost, id: number, name: OperationName, args: readonly unknown[]): unknown {
  switch (name) {
    case 'ensure':
      return to.ensure(args[0] as AttachmentLink, args[1] as SourceCheckMode, id);
    case 'remove':
      return to.remove(args[0] as string, args[1] as SourceCheckMode);
    case 'findDamaged':
      return to.findDamaged(args[0] as readonly AttachmentLink[], args[1] as SourceCheckMode);
    case 'findInnerDamage':
      return to.findInnerDamage(args[0] as AttachmentLink);
    case 'addNamespace':
      return to.addNamespace(args[0] as string, id);
    case 'removeNamespace':
      return to.removeNamespace(args[0] as string);
    case 'countDropped':
      return to.countDropped();
    case 'removeTable':
      return to.removeTable();
    case 'close':
      return to.close();
  }
}

function post(message: FromThread): void {
  parentPort!.postMessage(message);
}
