/**
 * The namespace thread: carries out the operations on attachments one after the other. The kernel's RTNL lock, which
 * every change of the network waits for, then blocks this thread and never the control thread.
 */
import { parentPort, workerData } from 'node:worker_threads';
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
/** The operation under way and those that wait for it. Bounded by what the control thread lets in. */
let turn: Promise<void> = Promise.resolve();

parentPort!.on('message', (message: ToThread) => {
  turn = turn.then(() => answer(message));
});

async function answer({ id, name, args }: ToThread): Promise<void> {
  try {
    // Here, so that a namespace that is not there is an error of the request.
    host ??= new AttachmentHost(settings.netns, journal);
    post({ id, result: await carryOut(host, id, name, args) });
  } catch (error) {
    const { code, hint } = error instanceof WarrenError ? error : { code: undefined, hint: undefined };
    post({ id, error: { code, message: errorMessage(error), hint } });
  }
}

function carryOut(to: AttachmentHost, id: number, name: OperationName, args: readonly unknown[]): unknown {
  switch (name) {
    case 'ensure':
      return to.ensure(args[0] as AttachmentLink, args[1] as SourceCheckMode, id);
    case 'remove':
      return to.remove(args[0] as string, args[1] as SourceCheckMode);
    case 'findDamaged':
      return to.findDamaged(args[0] as readonly AttachmentLink[], args[1] as SourceCheckMode);
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
