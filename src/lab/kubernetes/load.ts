/**
 * What runs in pods while a cluster is changed: `load.js`. It answers requests, sends streams, does both to the others that it is
 * told of, and counts what goes wrong.
 *
 *     POST :8090/drive [{"name": "b", "address": "10.244.1.2"}]   whom to talk to from now on
 *     GET  :8090/report                                          what came of it since the last report (LoadReport[])
 *     GET  :8090/                                                what is asked of others
 *          :8091                                                 4 kB every 20 ms, without end
 */
import { createServer, get } from 'node:http';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { LOAD_PORT, type LoadReport, LoadTally } from './load-tally.ts';

const STREAM_PORT = 8091;
const CHUNK_BYTES = 4096;
const CHUNK_EVERY_MS = 20;
/** Six pairs of three nodes make 200 requests a second. */
const REQUEST_EVERY_MS = 30;
const REQUEST_TIMEOUT_MS = 10_000;
const STREAM_AGAIN_MS = 500;
const STREAMS_EACH = 2;
const MAX_BODY_BYTES = 65_536;

interface Target {
  readonly name: string;
  readonly address: string;
}

let drivers: { readonly target: Target; readonly tally: LoadTally; readonly stop: () => void }[] = [];

createTcpServer((socket) => {
  const timer = setInterval(() => socket.write(Buffer.alloc(CHUNK_BYTES)), CHUNK_EVERY_MS);
  socket.on('error', () => {}).on('close', () => clearInterval(timer));
}).listen(STREAM_PORT);
createServer((request, response) => {
  if (request.url === '/report') {
    const now = performance.now();
    const report: LoadReport[] = drivers.map(({ target, tally }) => tally.report(target.name, now));
    response.end(JSON.stringify(report));
    return;
  }
  if (request.url !== '/drive') {
    response.end('ok');
    return;
  }
  let body = '';
  request.on('data', (part: Buffer) => {
    if (body.length < MAX_BODY_BYTES) body += part.toString();
  });
  request.on('end', () => {
    for (const { stop } of drivers) stop();
    drivers = (JSON.parse(body) as Target[]).map(drive);
    response.end('ok');
  });
}).listen(LOAD_PORT);

function drive(target: Target): (typeof drivers)[number] {
  const tally = new LoadTally(performance.now());
  const sockets = new Set<Socket>();
  let isStopped = false;
  const stream = (index: number): void => {
    if (isStopped) return;
    const socket = connect(STREAM_PORT, target.address);
    sockets.add(socket);
    socket.on('data', ({ length }) => tally.received(index, length, performance.now()));
    socket.on('error', (error) => tally.wentWrong(`stream: ${error.message}`));
    socket.on('close', () => {
      sockets.delete(socket);
      if (isStopped) return;
      tally.streamEnded();
      setTimeout(stream, STREAM_AGAIN_MS, index);
    });
  };
  for (let index = 0; index < STREAMS_EACH; index++) stream(index);
  const timer = setInterval(() => {
    const startMs = performance.now();
    // A connection of its own for each.
    const request = get({ host: target.address, port: LOAD_PORT, agent: false, timeout: REQUEST_TIMEOUT_MS });
    request.on('response', (response) => {
      response.resume();
      response.on('end', () => tally.answered(startMs, performance.now()));
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS} ms`)));
    request.on('error', (error) => {
      if (!isStopped) tally.requestFailed(`request: ${error.message}`);
    });
  }, REQUEST_EVERY_MS);
  const stop = (): void => {
    isStopped = true;
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
  };
  return { target, tally, stop };
}
