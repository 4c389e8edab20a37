/**
 * What the lab's cluster finds outside of itself, beside its control plane: `outside.js KUBECONFIG ADDRESS`.
 *
 * - A name server. It reads services and endpoints once a second, which will do for a lab. What is not of the cluster is not
 *   there: there is no way out.
 * - Somebody who answers every HTTP request on loopback with 200: Kubernetes' tests of services first ask, from the machine
 *   that they run on, whether the Internet is there, and use it for nothing.
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { Agent, get } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { decode, encode, type Packet } from 'dns-packet';
import { type Endpoints, resolveName, type Service } from './cluster-names.ts';

const READ_EVERY_MS = 1000;
const PORT = 53;
const HTTP_PORT = 8099;
/** dns-packet's flags: recursion is there, and this is no such name. */
const FLAGS = { answer: 0x0480, none: 0x0483 };

const [kubeconfig, address] = process.argv.slice(2) as [string, string];
const config = JSON.parse(readFileSync(kubeconfig, 'utf8')) as {
  clusters: [{ cluster: { server: string; 'certificate-authority-data': string } }];
  users: [{ user: { 'client-certificate-data': string; 'client-key-data': string } }];
};
const { cluster } = config.clusters[0];
const { user } = config.users[0];
const bytes = (text: string) => Buffer.from(text, 'base64');
const agent = new Agent({
  keepAlive: true,
  ca: bytes(cluster['certificate-authority-data']),
  cert: bytes(user['client-certificate-data']),
  key: bytes(user['client-key-data']),
});
let services: readonly Service[] = [];
let endpoints: readonly Endpoints[] = [];

const socket = createSocket('udp4');
socket.on('message', (message, { address: from, port }) => {
  const answer = answerTo(message);
  if (answer !== undefined) socket.send(answer, port, from);
});
socket.bind(PORT, address);
createServer((_, response) => response.end()).listen(HTTP_PORT, '127.0.0.1');
for (;;) {
  try {
    services = await read<Service>('services');
    endpoints = await read<Endpoints>('endpoints');
  } catch (error) {
    console.error(error);
  }
  await delay(READ_EVERY_MS);
}

function answerTo(message: Buffer): Buffer | undefined {
  try {
    const { id, questions } = decode(message);
    const [question] = questions ?? [];
    if (question === undefined) return undefined;
    const answers = resolveName(question.name, question.type, services, endpoints);
    const flags = answers === undefined ? FLAGS.none : FLAGS.answer;
    const packet: Packet = { type: 'response', flags, questions: [question], answers: answers ?? [] };
    return encode(id === undefined ? packet : { ...packet, id });
  } catch (error) {
    console.error(error);
    return undefined;
  }
}

function read<T>(what: string): Promise<readonly T[]> {
  return new Promise((resolve, reject) => {
    const request = get(`${cluster.server}/api/v1/${what}`, { agent, timeout: 10_000 }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve((JSON.parse(Buffer.concat(parts).toString()) as { items: T[] }).items);
        } catch (error) {
          reject(error);
        }
      });
    });
    request.on('timeout', () => request.destroy(new Error('the API server does not answer')));
    request.on('error', reject);
  });
}
