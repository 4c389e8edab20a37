/** A way from this machine to the API server of a cluster that stays, without a change to this machine's network. */
import { createServer } from 'node:net';
import { startCommand } from '../command.ts';
import type { Cluster } from './cluster.ts';

const API_PORT = 6443;

/** The API server's address here, on loopback. It ends with the cluster: socat runs where the lab looks for processes. */
export async function forwardPort(cluster: Cluster): Promise<string> {
  const port = await freePort();
  const { netns, addresses } = cluster.controlHost;
  // It listens here, and each connection is carried by a process in the lab.
  const inside = `nsenter --net=${netns} socat STDIO TCP:${addresses.ipv4}:${API_PORT}`;
  // To socat a colon separates what belongs to an address.
  const command = inside.replaceAll(':', '\\:');
  const argv = ['socat', `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork`, `EXEC:${command}`];
  const watched = `socat "$1" "$2" & trap 'kill $!' EXIT; while [ -e "$0" ]; do sleep 2; done`;
  const child = startCommand(['sh', '-c', watched, netns, argv[1]!, argv[2]!], {
    detached: true,
    stdio: 'ignore',
  });
  child.on('error', () => {});
  child.unref();
  return `https://127.0.0.1:${port}`;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
