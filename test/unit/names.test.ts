import { expect, test } from 'vitest';
import { wantedAttachment } from '../../src/attachment/attachment.ts';
import { nodeName, podName } from '../../src/config/fields.ts';
import { encodeEntry } from '../../src/inventory/entry.ts';
import { ATTACHMENT_TEXT } from '../../src/names.ts';
import { guarded, nameField } from '../../src/protobuf/fields.ts';

const LONGEST = 'a'.repeat(63);
const TEXTS = [
  'a',
  'Node-1.example.org',
  'my_host',
  LONGEST,
  `${LONGEST}a`,
  '',
  '-a',
  'a-',
  '_a',
  'a b',
  'ä',
  'a\n',
];

test.each(TEXTS)(
  '"%s" is a node name in the configuration if and only if it is one between nodes',
  (text) => {
    expect(guarded(() => nameField(text)).ok).toBe(nodeName.safeParse(text).success);
  },
);

test.each([...TEXTS, 'web', 'db-2'])('"%s" is no pod name, or one that other nodes take', (text) => {
  if (podName.safeParse(text).success) expect(guarded(() => nameField(text)).ok).toBe(true);
});

test('node names may have underscores, as host names often do', () => {
  expect(nodeName.safeParse('my_host').success).toBe(true);
});

test.each([
  [
    'the longest of all',
    ATTACHMENT_TEXT.maxId,
    'ü'.repeat(ATTACHMENT_TEXT.maxName),
    'ü'.repeat(ATTACHMENT_TEXT.maxNetwork),
  ],
  ['the shortest', 1, 'n', ''],
])('an attachment with %s texts can be told to other nodes', (_what, idLength, name, network) => {
  const { id, labels } = wantedAttachment({ id: 'i'.repeat(idLength), client: 'cni', name, network }, 'node');
  expect(encodeEntry({ id, name, network, addresses: [], labels })).toMatchObject({ omittedLabels: 0 });
});

test.each([
  ['name', { name: 'a\u202eb' }],
  ['name', { name: 'n'.repeat(ATTACHMENT_TEXT.maxName + 1) }],
  ['network', { network: 'a\u2028b' }],
  ['id', { id: 'i'.repeat(ATTACHMENT_TEXT.maxId + 1) }],
])('what other nodes would refuse is no %s of an attachment', (_what, bad) => {
  const request = { id: 'x', client: 'cni', name: 'n', ...bad };
  expect(() => wantedAttachment(request, 'node')).toThrow(
    expect.objectContaining({ code: 'ATTACHMENT_INVALID' }),
  );
});
