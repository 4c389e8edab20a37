/** Entries: the bytes that are hashed, and what is refused. */

import { describe, expect, it } from 'vitest';
import {
  decodeEntry,
  EMPTY_HASH,
  encodeEntry,
  inventoryHash,
  MAX_ENTRY_BYTES,
} from '../../../src/inventory/entry.ts';
import type { InventoryEntry } from '../../../src/inventory/inventory.ts';
import { entryType } from '../../../src/inventory/proto.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { ATTACHMENT_TEXT } from '../../../src/names.ts';

const web: InventoryEntry = {
  id: 'web/eth0',
  name: 'web',
  addresses: [parseAddress('10.42.7.2'), parseAddress('fd42::7')],
  network: 'front',
  labels: { tier: 'web', app: 'shop' },
};

/** In the order of proto/inventory.proto; labels in that of their keys. */
const WEB_BYTES = [
  '0a08 7765622f65746830',
  '1203 776562',
  '1a04 0a2a0702',
  '1a10 fd420000000000000000000000000007',
  '2205 66726f6e74',
  '2a0b 0a03617070 120473686f70',
  '2a0b 0a0474696572 1203776562',
].join('');

const stored = (entry: InventoryEntry) => encodeEntry(entry)!.stored;

describe('an entry', () => {
  it('has these bytes, and an inventory of it this hash', () => {
    expect(Buffer.from(stored(web).bytes).toString('hex')).toBe(WEB_BYTES.replaceAll(' ', ''));
    expect(EMPTY_HASH).toBe('a40aa67d6d08f330120412d516f75fc3');
    expect(inventoryHash([stored(web)])).toBe('d93ea1e4c3f841edb4bcb547cfbbe509');
  });

  it('comes back as it was, whatever the order of its labels', () => {
    const decoded = decodeEntry(stored(web).bytes);
    expect(decoded).toMatchObject({ ok: true, value: { entry: web } });
    const turned = { ...web, labels: { app: 'shop', tier: 'web' } };
    expect(stored(turned).hash).toBe(stored(web).hash);
  });

  it('is hashed with others in any order, and each field counts', () => {
    const other = { ...web, id: 'db/eth0' };
    const all = [stored(web), stored(other)];
    expect(inventoryHash(all)).toBe(inventoryHash(all.toReversed()));
    const changes: Partial<InventoryEntry>[] = [
      { id: 'x' },
      { name: 'x' },
      { addresses: [] },
      { network: '' },
      { labels: {} },
    ];
    const hashes = changes.map((change) => inventoryHash([stored({ ...web, ...change })]));
    expect(new Set([...hashes, inventoryHash([stored(web)]), EMPTY_HASH]).size).toBe(7);
  });

  it('keeps fields of a later version, and its hash with them', () => {
    const bytes = Buffer.concat([stored(web).bytes, Buffer.from('720178', 'hex')]);
    const decoded = decodeEntry(bytes);
    expect(decoded).toMatchObject({ ok: true, value: { entry: web, bytes: new Uint8Array(bytes) } });
    expect(decoded.ok && decoded.value.hash).not.toBe(stored(web).hash);
  });

  it('takes a label of any name for a label', () => {
    const labels = Object.fromEntries([['__proto__', 'x']]);
    const decoded = decodeEntry(stored({ ...web, labels }).bytes);
    expect(decoded.ok && Object.entries(decoded.value.entry.labels)).toEqual([['__proto__', 'x']]);
  });

  it('leaves out labels that others would not take, and says how many', () => {
    const many = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [`k${String(i).padStart(2, '0')}`, 'v']),
    );
    expect(encodeEntry({ ...web, labels: many })).toMatchObject({
      omittedLabels: 40 - ATTACHMENT_TEXT.maxLabels,
    });
    const odd = {
      ok: 'yes',
      'line\nbreak': 'v',
      long: 'v'.repeat(257),
      escape: '\u001b[2J',
      turned: '\u202e',
    };
    const encoded = encodeEntry({ ...web, labels: odd })!;
    expect(encoded.omittedLabels).toBe(4);
    expect(encoded.stored.entry.labels).toEqual({ ok: 'yes' });
    const large = Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`k${i}`, 'ä'.repeat(256)]));
    const cut = encodeEntry({ ...web, labels: large })!;
    expect(cut.stored.bytes.length).toBeLessThanOrEqual(MAX_ENTRY_BYTES);
    expect(cut.omittedLabels).toBeGreaterThan(20);
  });

  it.each<[string, Partial<InventoryEntry>]>([
    ['an empty id', { id: '' }],
    ['a long id', { id: 'x'.repeat(257) }],
    ['an empty name', { name: '' }],
    ['a long name', { name: 'x'.repeat(321) }],
    ['a name that moves the cursor', { name: 'a\u001b[1A' }],
    ['a long network', { network: 'x'.repeat(254) }],
    ['too many addresses', { addresses: Array(17).fill(parseAddress('10.0.0.1')) }],
  ])('with %s is none', (_, change) => {
    expect(encodeEntry({ ...web, ...change })).toBeUndefined();
  });

  it.each<[string, object]>([
    ['an address of five bytes', { addresses: [new Uint8Array(5)] }],
    [
      'labels out of order',
      {
        labels: [
          { key: 'b', value: '' },
          { key: 'a', value: '' },
        ],
      },
    ],
    [
      'a label twice',
      {
        labels: [
          { key: 'a', value: '1' },
          { key: 'a', value: '2' },
        ],
      },
    ],
    ['33 labels', { labels: Array.from({ length: 33 }, (_, i) => ({ key: `k${10 + i}`, value: '' })) }],
    ['a long label', { labels: [{ key: 'k'.repeat(321), value: '' }] }],
    ['no id', { id: '' }],
  ])('with %s from another node is refused', (_, change) => {
    const bytes = entryType.encode({ id: 'x', name: 'x', ...change }).finish();
    expect(decodeEntry(bytes)).toEqual({ ok: false, reason: 'field' });
  });

  it('that is too long or no message is refused', () => {
    expect(decodeEntry(new Uint8Array(MAX_ENTRY_BYTES + 1)).ok).toBe(false);
    expect(decodeEntry(Buffer.from('0aff', 'hex'))).toEqual({ ok: false, reason: 'malformed' });
  });
});
