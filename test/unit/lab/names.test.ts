import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import {
  bridgeNamespace,
  checkLabName,
  hostNamespace,
  isExtraNamespace,
  isPodNamespace,
  labFolder,
  nodeName,
  nodeNamespace,
  nodeOfNamespace,
} from '../../../src/lab/names.ts';

const labName = fc.stringMatching(/^[a-z][a-z0-9]{0,15}$/).filter((name) => name !== 'node');

describe('names of a lab', () => {
  test('the default lab has the plain names', () => {
    expect(nodeName('lab', 0)).toBe('node-a');
    expect(nodeNamespace('node-a')).toBe('warrenlab-node-a');
    expect(labFolder('lab')).toBe('/run/warren/lab-lab');
  });

  test('nodes are lettered without end', () => {
    expect([0, 25, 26, 51, 52, 199].map((index) => nodeName('x7', index))).toEqual([
      'x7-a',
      'x7-z',
      'x7-aa',
      'x7-az',
      'x7-ba',
      'x7-gr',
    ]);
  });

  test.each(['', 'node', 'two-labs', 'A', '7up', 'x/../y', 'a b', 'a'.repeat(17)])(
    '"%s" is refused',
    (name) => {
      expect(() => checkLabName(name)).toThrow(WarrenError);
    },
  );

  test('a lab knows its own namespaces, and none of another lab', () => {
    fc.assert(
      fc.property(
        labName,
        labName,
        fc.nat(199),
        fc.stringMatching(/^[a-z0-9]{1,8}$/),
        (lab, other, index, text) => {
          fc.pre(lab !== other);
          checkLabName(lab);
          const node = nodeName(lab, index);
          const pod = `warren-${node}-${text}`;
          const own = [bridgeNamespace(lab), hostNamespace(lab, text), nodeNamespace(node)];
          for (const namespace of own) {
            const mine = (name: string): boolean =>
              isExtraNamespace(name, namespace) || nodeOfNamespace(name, namespace) !== undefined;
            expect(mine(lab)).toBe(true);
            expect(mine(other)).toBe(false);
          }
          expect(nodeOfNamespace(lab, nodeNamespace(node))).toBe(node);
          expect(isPodNamespace(node, pod)).toBe(true);
          expect(isPodNamespace(nodeName(other, index), pod)).toBe(false);
        },
      ),
    );
  });

  test('the longest names fit: a node name in 63 characters, a socket path in 107', () => {
    const node = nodeName('a'.repeat(16), 199);
    expect(node.length).toBeLessThanOrEqual(63);
    expect(`${labFolder('a'.repeat(16))}/${node}/agent.sock`.length).toBeLessThanOrEqual(107);
  });
});
