/** Whatever another node answers, its files are bounded and have plain names, or it is told of as missing. */
import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import type { Rpc } from '../../../src/rpc/rpc.ts';
import { Sysdumps } from '../../../src/sysdump/sysdumps.ts';

const files = (...some: unknown[]) => gzipSync(JSON.stringify(some));

function reportOf(answer: Uint8Array) {
  const rpc: Rpc = {
    serve: () => {},
    call: async () => [answer.subarray(0, 7), answer.subarray(7)],
    stream: () => {
      throw new Error('not asked');
    },
  };
  const sources = {
    reports: {},
    config: () => '',
    log: () => '',
    host: async () => [],
    secrets: () => [],
  };
  const others = () => [{ id: 'b2', name: 'node-b' }];
  return new Sysdumps({ rpc, nodeName: 'node-a', isSealed: true, others, sources }).report(true);
}

it('a good answer is taken, in whatever parts it comes', async () => {
  const { nodes, unreachable } = await reportOf(files({ name: 'log.txt', text: 'hello' }));
  expect(unreachable).toEqual([]);
  expect(nodes[1]).toEqual({ node: 'node-b', id: 'b2', files: [{ name: 'log.txt', text: 'hello' }] });
});

it.each([
  ['a path that leads out', files({ name: '../../etc/passwd', text: '' })],
  ['an absolute path', files({ name: '/etc/passwd', text: '' })],
  ['a folder', files({ name: 'a/b', text: '' })],
  ['a file that is too long', files({ name: 'a', text: 'x'.repeat(600 * 1024) })],
  ['too many files', files(...Array.from({ length: 65 }, (_, at) => ({ name: `f${at}`, text: '' })))],
  ['more than it looks like', gzipSync(Buffer.alloc(32 * 1024 * 1024))],
  ['no gzip', Buffer.from('hello, this is no archive')],
  ['no JSON', gzipSync('{')],
  ['nothing', new Uint8Array()],
])('%s is not', async (_, answer) => {
  const { nodes, unreachable } = await reportOf(answer);
  expect(nodes.map(({ node }) => node)).toEqual(['node-a']);
  expect(unreachable).toEqual([{ node: 'node-b', reason: "the node's answer makes no sense" }]);
});
