/** What this node announces of its own attachments, and when. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TimerGroup } from '../../../src/clock.ts';
import { EMPTY_HASH, MAX_ENTRIES } from '../../../src/inventory/entry.ts';
import type { InventoryEntry } from '../../../src/inventory/inventory.ts';
import { OwnInventory, VERSION_STEP } from '../../../src/inventory/own-inventory.ts';
import { inventoryTiming } from '../../../src/inventory/timing.ts';
import { fileVersionStore, type VersionStore } from '../../../src/inventory/version-store.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import type { InventoryMark } from '../../../src/membership/types.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

const NODE = 'ab'.repeat(16);
const { coalesceMs, versionIntervalMs } = inventoryTiming;

function entry(id: string, name = id): InventoryEntry {
  return { id, name, addresses: [parseAddress('10.42.0.2')], network: '', labels: {} };
}

function run(store: VersionStore) {
  const clock = new VirtualClock();
  const marks: InventoryMark[] = [];
  const own = new OwnInventory({
    store,
    clock,
    timers: new TimerGroup(clock),
    timing: inventoryTiming,
    announce: (mark) => marks.push(mark),
    repeat: () => {},
    onChange: () => {},
  });
  return { clock, marks, own, versions: () => marks.map(({ version }) => version) };
}

function memoryStore(saved: number[] = []) {
  const store: VersionStore = { load: () => saved.at(-1), save: (version) => saved.push(version) };
  return { saved, store };
}

describe('the own inventory', () => {
  it('announces at the start what is there, and an empty one too', () => {
    const empty = run(memoryStore().store);
    empty.own.start();
    expect(empty.marks).toEqual([{ version: 1, hash: EMPTY_HASH }]);
    const { own, marks } = run(memoryStore().store);
    own.set(entry('a'));
    own.set(entry('b'));
    expect(marks).toEqual([]);
    own.start();
    expect(marks).toHaveLength(1);
    expect(own.announced.entries.size).toBe(2);
  });

  it('makes one version of the changes of a moment, and none of what comes to nothing', () => {
    const { own, clock, versions } = run(memoryStore().store);
    own.start();
    clock.advance(1000);
    for (let i = 0; i < 10; i++) own.set(entry(`e${i}`));
    expect(versions()).toEqual([1]);
    clock.advance(coalesceMs);
    expect(versions()).toEqual([1, 2]);
    clock.advance(1000);
    own.set(entry('x'));
    own.delete('x');
    own.delete('never there');
    own.set(entry('e1'));
    clock.advance(1000);
    expect(versions()).toEqual([1, 2]);
  });

  it('announces no faster than gossip tells, and the last change all the same', () => {
    const { own, clock, versions } = run(memoryStore().store);
    own.start();
    clock.advance(1000);
    for (let i = 0; i < 100; i++) {
      own.set(entry(`e${i}`));
      clock.advance(10);
    }
    clock.advance(versionIntervalMs);
    expect(versions().length).toBeLessThanOrEqual(2 + 1000 / versionIntervalMs);
    expect(own.announced.entries.size).toBe(100);
  });

  it('writes its version ahead, once for many changes, and goes on above it after a crash', () => {
    const disk = memoryStore();
    const first = run(disk.store);
    first.own.start();
    for (let i = 0; i < VERSION_STEP + 10; i++) {
      first.own.set(entry('e', `name ${i}`));
      first.clock.advance(versionIntervalMs);
    }
    // The first version was that of nothing.
    expect(disk.saved).toEqual([1 + VERSION_STEP, 1 + 2 * VERSION_STEP]);
    const last = first.marks.at(-1)!.version;
    expect(last).toBeGreaterThan(VERSION_STEP);
    const second = run(disk.store);
    second.own.start();
    expect(second.marks[0]!.version).toBeGreaterThan(last);
  });

  it('goes on right above where it was stopped', () => {
    const disk = memoryStore();
    const first = run(disk.store);
    first.own.set(entry('a'));
    first.own.start();
    first.own.stop();
    const second = run(disk.store);
    second.own.start();
    expect(second.versions()).toEqual([2]);
  });

  it('spares the disk of a node that never had anything', () => {
    const disk = memoryStore();
    for (let restart = 0; restart < 2; restart++) {
      const { own, marks } = run(disk.store);
      own.start();
      own.stop();
      expect(marks).toEqual([{ version: 1, hash: EMPTY_HASH }]);
    }
    expect(disk.saved).toEqual([]);
  });

  it('is announced though the disk refuses, and says so until it does not', () => {
    let isFull = true;
    const disk = memoryStore();
    const store: VersionStore = {
      ...disk.store,
      save: (version) => {
        if (isFull) throw new Error('no space left on device');
        disk.store.save(version);
      },
    };
    const { own, clock, versions } = run(store);
    own.set(entry('z'));
    own.start();
    expect(versions()).toEqual([1]);
    expect(own.problems()).toEqual(['no space left on device']);
    isFull = false;
    own.set(entry('a'));
    clock.advance(1000);
    expect(versions()).toEqual([1, 2]);
    expect(own.problems()).toEqual([]);
    expect(disk.saved.at(-1)).toBeGreaterThan(2);
  });

  it('names attachments that others would not take', () => {
    const { own } = run(memoryStore().store);
    own.start();
    own.set(entry('bad', 'two\nlines'));
    expect(own.entries.size).toBe(0);
    expect(own.problems()).toEqual([expect.stringMatching(/^attachment bad is not announced/)]);
    own.set(entry('bad', 'one line'));
    expect(own.problems()).toEqual([]);
    for (let i = 0; i < MAX_ENTRIES; i++) own.set(entry(`e${i}`));
    expect(own.entries.size).toBe(MAX_ENTRIES);
    expect(own.problems()).toHaveLength(1);
    own.delete(`e${MAX_ENTRIES - 1}`);
    expect(own.problems()).toEqual([]);
  });
});

describe('the version on disk', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'warren-inventory-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("comes back, and not as another node's", () => {
    const store = fileVersionStore(folder, NODE);
    expect(store.load()).toBeUndefined();
    store.save(1000);
    store.save(2000);
    expect(store.load()).toBe(2000);
    expect(() => fileVersionStore(folder, 'cd'.repeat(16)).load()).toThrow(/node (ab)+ wrote it/);
  });
});
