/** A program in a network namespace that answers on some ports, and asks others, as it is told. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Both TCP and UDP. */
export const ANSWERED_PORTS = [53, 80, 81] as const;

/** A line for each question, and for each answer. */
const PROGRAM = `
const net = require('node:net'), dgram = require('node:dgram');
for (const port of [${ANSWERED_PORTS.join(', ')}]) {
  net.createServer((socket) => {
    console.log('from', socket.remoteAddress);
    socket.on('error', () => {}); socket.end();
  }).listen(port, '::');
  const udp = dgram.createSocket('udp6');
  udp.on('message', (bytes, from) => { console.log('from', from.address); udp.send(bytes, from.port, from.address, () => {}); });
  udp.on('error', () => {});
  udp.bind(port, '::');
}
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, address, protocol, port, waitMs, bytes, source } = JSON.parse(line);
  let close = () => {}, isDone = false;
  const done = (reached) => {
    if (isDone) return;
    isDone = true;
    clearTimeout(timer); clearInterval(again); close(); console.log(id, reached);
  };
  const timer = setTimeout(() => done(false), waitMs);
  let again;
  if (protocol === 'TCP') {
    const socket = net.connect({ host: address, port, localAddress: source });
    close = () => socket.destroy();
    socket.on('connect', () => done(true)).on('error', () => {});
  } else {
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    close = () => socket.close();
    socket.on('message', () => done(true)).on('error', () => {});
    const send = () => socket.send(Buffer.alloc(bytes), port, address, () => {});
    socket.bind(0, source, () => { send(); again = setInterval(send, 200); });
  }
});
console.log('ready');
`;

export interface ReachQuestion {
  readonly address: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
  /** Without an answer for so long it is not reached. */
  readonly waitMs: number;
  /** Of a datagram; default: 1. */
  readonly bytes?: number;
  readonly source?: string;
}

export class ReachProgram {
  readonly #child: ChildProcess;
  readonly #answers = new Map<string, (reached: boolean) => void>();
  /** Who was answered, each once, in text. */
  readonly seen = new Set<string>();
  #count = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Resolves when it answers. */
  static async start(netns: string): Promise<ReachProgram> {
    const argv = [`--net=${netns}`, '--', process.execPath, '-e', PROGRAM];
    const child = spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    const program = new ReachProgram(child);
    await new Promise<void>((resolve, reject) => {
      child.on('error', reject);
      createInterface({ input: child.stdout! }).on('line', (line) => {
        const [id, text] = line.split(' ') as [string, string];
        if (id === 'ready') resolve();
        else if (id === 'from') program.seen.add(text.replace('::ffff:', ''));
        else program.#answers.get(id)?.(text === 'true');
      });
    });
    return program;
  }

  ask(question: ReachQuestion): Promise<boolean> {
    return new Promise((resolve) => {
      const id = String(this.#count++);
      this.#answers.set(id, (reached) => {
        this.#answers.delete(id);
        resolve(reached);
      });
      this.#child.stdin!.write(`${JSON.stringify({ bytes: 1, ...question, id })}\n`);
    });
  }

  stop(): void {
    this.#child.kill('SIGKILL');
  }
}
