/**
 * A program that answers TCP on a node and in its pods for a while: it sends back what comes, or counts it. It is a process
 * of its own, so that its connections outlive the agent, whose restarts they are to show. It reads its settings from standard
 * input, says on standard output where it listens, and ends by itself.
 */
import { openSync, readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { enterNetworkNamespace } from '../sys/namespaces.ts';
import { MODE, type ResponderEndpoint, type ResponderSettings, TOKEN_BYTES } from './responder-messages.ts';

const MAX_CONNECTIONS = 1024;
/** For the token to arrive. */
const TOKEN_TIMEOUT_MS = 5000;

const settings = JSON.parse(readFileSync(0, 'utf8')) as ResponderSettings;
const token = Buffer.from(settings.token, 'hex');
let connections = 0;

setTimeout(() => process.exit(0), settings.seconds * 1000);
// Whoever started it may be gone by the time that it says where it listens.
process.stdout.on('error', () => {});

const endpoints: ResponderEndpoint[] = [];
for (const { pod, address, netns } of settings.listenOn) {
  try {
    if (netns !== undefined) enterNetworkNamespace(openSync(netns, 'r'));
    const server = await listening(address);
    const bound = server.address();
    if (typeof bound === 'object' && bound !== null) endpoints.push({ pod, address, port: bound.port });
  } catch {
    // A pod that has just gone: there is nobody to answer for it.
  }
}
process.stdout.write(`${JSON.stringify(endpoints)}\n`);

function listening(host: string): Promise<Server> {
  const server = createServer((socket) => accept(socket));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port: 0 }, () => resolve(server));
  });
}

function accept(socket: Socket): void {
  if (connections >= MAX_CONNECTIONS) {
    socket.destroy();
    return;
  }
  connections++;
  socket.setNoDelay(true);
  socket.setTimeout(TOKEN_TIMEOUT_MS, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('close', () => connections--);
  let head = Buffer.alloc(0);
  const begin = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk]);
    if (head.length < TOKEN_BYTES + 1) return;
    socket.off('data', begin);
    const rest = head.subarray(TOKEN_BYTES + 1);
    if (!head.subarray(0, TOKEN_BYTES).equals(token)) socket.destroy();
    else if (head[TOKEN_BYTES] === MODE.echo) echo(socket, rest);
    else sink(socket, rest);
  };
  socket.on('data', begin);
}

/** What comes goes back. */
function echo(socket: Socket, rest: Buffer): void {
  socket.setTimeout(0);
  if (rest.length > 0) socket.write(rest);
  socket.pipe(socket);
}

/** What comes is counted, and at its end the sender is told how much that was. */
function sink(socket: Socket, rest: Buffer): void {
  let bytes = rest.length;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  socket.on('end', () => socket.end(String(bytes)));
}
