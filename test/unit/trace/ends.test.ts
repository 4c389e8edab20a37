/** Who is meant by the ends of a trace. */
import { describe, expect, it } from 'vitest';
import { type KnownWorld, resolveEnds } from '../../../src/trace/ends.ts';

const WORLD: KnownWorld = {
  nodeName: 'node-a',
  pods: [
    { node: 'node-a', name: 'web', addresses: ['10.42.1.2', 'fd42:0:0:1::2'] },
    { node: 'node-b', name: 'web', addresses: ['10.42.2.2', 'fd42:0:0:2::2'] },
    { node: 'node-b', name: 'db', addresses: ['10.42.2.3/32'] },
    { node: 'node-c', name: 'db', addresses: ['10.42.3.3'] },
    { node: 'node.d', name: 'shop.web', addresses: ['fd42:0:0:4::2'] },
  ],
  nodes: [
    {
      name: 'node-a',
      subnets: ['10.42.1.0/24', 'fd42:0:0:1::/64'],
      addresses: ['10.42.1.1', 'fd42:0:0:1::1'],
    },
    { name: 'node-b', subnets: ['10.42.2.0/24'], addresses: ['10.42.2.1'] },
    { name: 'old', subnets: ['10.99.0.0/16'], addresses: [] },
    { name: 'older', subnets: ['10.99.1.0/24'], addresses: [] },
  ],
};

function to(text: string) {
  const { name, address, node, isAttached } = resolveEnds('web', text, WORLD).to;
  return [name, address, node, isAttached];
}
const codeOf = (from: string, text: string) => {
  try {
    resolveEnds(from, text, WORLD);
    return undefined;
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('an end', () => {
  it.each([
    ['web', 'web.node-a', '10.42.1.2', 'node-a', true],
    ['web.node-b', 'web.node-b', '10.42.2.2', 'node-b', true],
    ['node-b/db', 'db.node-b', '10.42.2.3', 'node-b', true],
    ['10.42.2.3', 'db.node-b', '10.42.2.3', 'node-b', true],
    ['10.42.2.9', '10.42.2.9', '10.42.2.9', 'node-b', false],
    ['10.42.2.1', 'node:node-b', '10.42.2.1', 'node-b', true],
    ['node:node-b', 'node:node-b', '10.42.2.1', 'node-b', true],
    ['shop.web.node.d', 'shop.web.node.d', 'fd42:0:0:4::2', 'node.d', true],
    ['10.99.1.5', '10.99.1.5', '10.99.1.5', 'older', false],
    ['10.77.0.1', '10.77.0.1', '10.77.0.1', null, false],
    ['fd42:0:0:1:0::1', 'node:node-a', 'fd42:0:0:1::1', 'node-a', true],
  ])('%s is %s', (text, ...expected) => {
    expect(to(text)).toEqual(expected);
  });

  it('that is nobody, or several, or of the other family, is refused', () => {
    expect(codeOf('web', 'nobody')).toBe('POD_UNKNOWN');
    expect(codeOf('web', 'db')).toBe('TRACE_AMBIGUOUS');
    expect(codeOf('web', 'node:nowhere')).toBe('MEMBER_UNKNOWN');
    expect(codeOf('web', 'node:old')).toBe('MEMBER_UNKNOWN');
    expect(codeOf('db.node-b', 'fd42:0:0:1::2')).toBe('TRACE_FAMILIES');
  });
});
