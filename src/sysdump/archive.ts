/** A sysdump as a gzipped tar archive: a folder for each node, and unreachable.txt where some did not answer. */
import { gzipSync } from 'node:zlib';
import { createTar } from 'nanotar';
import type { SysdumpReport } from '../readmodel/reports.ts';

/** `atMs`: since the epoch. */
export function sysdumpArchive({ nodes, unreachable }: SysdumpReport, atMs: number): Uint8Array {
  const files = nodes.flatMap((node, at) =>
    node.files.map(({ name, text }) => ({
      name: `warren-sysdump/${folderOf(nodes, at)}/${name}`,
      data: text,
    })),
  );
  if (unreachable.length > 0) {
    const data = unreachable.map(({ node, reason }) => `${node}: ${reason}\n`).join('');
    files.push({ name: 'warren-sysdump/unreachable.txt', data });
  }
  return gzipSync(createTar(files, { attrs: { mode: '600', uid: 0, gid: 0, mtime: atMs } }));
}

/** Names are the nodes' own choice: two may have the same one. */
function folderOf(nodes: SysdumpReport['nodes'], at: number): string {
  const { node, id } = nodes[at]!;
  const plain = node.replaceAll(/[^A-Za-z0-9-]/g, '-').slice(0, 63);
  const isTaken = nodes.some((other, place) => place < at && other.node === node);
  return isTaken ? `${plain}-${id.slice(0, 8)}` : plain;
}
