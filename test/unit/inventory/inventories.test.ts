/** The one interface for whoever wants to know what is attached where. */
import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import { encodeEntry, inventoryHash } from '../../../src/inventory/entry.ts';
import { Inventories } from '../../../src/inventory/inventories.ts';
import type { InventoryEntry } from '../../../src/inventory/inventory.ts';
import type { InventoriesOptions } from '../../../src/inventory/options.ts';
import {
  decodePullRequest,
  encodePullAnswer,
  encodePullRequest,
} from '../../../src/inventory/pull-messages.ts';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import type { InventoryMark, Member } from '../../../src/membership/types.ts';
import type { Rpc, RpcHandler } from '../../../src/rpc/rpc.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { golden } from '../membership/golden.ts';

const SELF = 'aa'.repeat(16);
const OTHER = 'bb'.repeat(16);
const THIRD = 'cc'.repeat(16);

function entry(id: string, ...addresses: string[]): InventoryEntry {
  return { id, name: id, addresses: addresses.map(parseAddress), network: '', labels: {} };
}

/** A membership and calls that hold what they are given: other nodes have `attached`. */
function harness(options: Partial<InventoriesOptions> = {}) {
  const clock = new VirtualClock();
  const members = new Map<string, Member>();
  const attached = new Map<string, InventoryEntry[]>();
  const marks: InventoryMark[] = [];
  const events = new EventEmitter();
  const handlers = new Map<string, RpcHandler>();
  const state = { version: 0, repeats: 0, isSilent: false };
  const rpc: Rpc = {
    serve: (method, handler) => handlers.set(method, handler),
    call: () => Promise.reject(new Error('not used')),
    async *stream(_to, _method, body) {
      if (state.isSilent) throw new WarrenError('RPC_UNREACHABLE', 'no answer');
      const request = decodePullRequest(body);
      for (const { node, version } of request.ok ? request.value : []) {
        const entries = attached.get(node)!.map((one) => encodeEntry(one)!.stored);
        yield* encodePullAnswer({ node, kind: 'whole', version, entries, deleted: [] });
      }
    },
  };
  const inventories = new Inventories({
    membership: {
      id: SELF,
      members: () => [...members.values()],
      member: (id) => members.get(id),
      updateSelf: ({ inventory }) => marks.push(inventory),
      repeatSelf: () => {
        state.repeats++;
      },
      on: (event: string, listener: (...values: never[]) => void) => events.on(event, listener as never),
      off: (event: string, listener: (...values: never[]) => void) => events.off(event, listener as never),
    },
    ...{ rpc, clock, store: { load: () => undefined, save: () => {} }, logger: silentLogger },
    ...options,
  });
  const announce = (id: string, entries: readonly InventoryEntry[], status: Member['status'] = 'alive') => {
    attached.set(id, [...entries]);
    const hash = inventoryHash(entries.map((one) => encodeEntry(one)!.stored));
    const { record } = golden;
    const member = { ...record, id, status, statusAgeMs: 0, inventory: { version: ++state.version, hash } };
    const previous = members.get(id);
    members.set(id, member);
    events.emit('change', member, previous, id);
  };
  const remove = (id: string) => {
    const member = members.get(id);
    members.delete(id);
    events.emit('removed', member);
  };
  members.set(SELF, { ...golden.record, id: SELF, status: 'alive', statusAgeMs: 0 });
  inventories.start();
  const silence = () => {
    state.isSilent = true;
  };
  return { clock, inventories, announce, remove, silence, marks, handlers, state };
}

const web = entry('web', '10.42.1.2', 'fd42::1:2');
const holdersOf = (inventories: Inventories, address: string) =>
  inventories.holders(parseAddress(address)).map(({ nodeId, entry: { id } }) => [nodeId, id]);

describe('inventories', () => {
  it("know this node's attachments at once, and others' when they are pulled", async () => {
    const { clock, inventories, announce, marks } = harness();
    const heard: unknown[] = [];
    inventories.on('change', (change) => heard.push(change));
    inventories.set(web);
    expect(holdersOf(inventories, 'fd42::1:2')).toEqual([[SELF, 'web']]);
    announce(OTHER, [entry('db', '10.42.2.2')]);
    expect(inventories.node(OTHER)).toMatchObject({ version: undefined, isCurrent: false, entries: [] });
    await clock.run(1000);
    expect(holdersOf(inventories, '10.42.2.2')).toEqual([[OTHER, 'db']]);
    expect([...inventories.entries()].map(({ nodeId, entry: { id } }) => [nodeId, id])).toEqual([
      [SELF, 'web'],
      [OTHER, 'db'],
    ]);
    expect(heard).toMatchObject([
      { nodeId: SELF, set: [{ id: 'web' }], deleted: [] },
      { nodeId: OTHER, set: [{ id: 'db' }], deleted: [] },
    ]);
    expect(marks).toHaveLength(2);
    expect(inventories.problems()).toEqual([]);
  });

  it('say what goes with a node that is removed', async () => {
    const { clock, inventories, announce, remove } = harness();
    announce(OTHER, [entry('db', '10.42.2.2')]);
    await clock.run(1000);
    const heard: unknown[] = [];
    inventories.on('change', (change) => heard.push(change));
    remove(OTHER);
    expect(heard).toEqual([{ nodeId: OTHER, set: [], deleted: ['db'] }]);
    expect(holdersOf(inventories, '10.42.2.2')).toEqual([]);
    expect(inventories.known).toBe(1);
  });

  it('follow an attachment whose addresses change, and one that moves to another node', async () => {
    const { clock, inventories, announce } = harness();
    announce(OTHER, [web]);
    await clock.run(1000);
    announce(OTHER, [entry('web', '10.42.1.3')]);
    announce(THIRD, [entry('web', '10.42.1.2')]);
    await clock.run(1000);
    expect(holdersOf(inventories, '10.42.1.2')).toEqual([[THIRD, 'web']]);
    expect(holdersOf(inventories, '10.42.1.3')).toEqual([[OTHER, 'web']]);
    expect(holdersOf(inventories, 'fd42::1:2')).toEqual([]);
  });

  it("believe no node about an address that is not the node's to have", async () => {
    const { clock, inventories, announce } = harness({
      mayHave: (nodeId, address) => nodeId === OTHER || !formatAddress(address).startsWith('10.42.1.'),
    });
    announce(OTHER, [web]);
    announce(THIRD, [entry('thief', '10.42.1.2', '10.42.3.2')]);
    await clock.run(1000);
    expect(holdersOf(inventories, '10.42.1.2')).toEqual([[OTHER, 'web']]);
    expect(holdersOf(inventories, '10.42.3.2')).toEqual([[THIRD, 'thief']]);
    expect(inventories.node(THIRD)!.entries).toHaveLength(1);
    const listed = [...inventories.listed()].map(({ nodeId, entry: { name, addresses } }) => [
      ...[nodeId, name, ...addresses.map(formatAddress)],
    ]);
    expect(listed).toContainEqual([THIRD, 'thief', '10.42.3.2']);
    expect(listed.flat().filter((text) => text === '10.42.1.2')).toHaveLength(1);
  });

  it('tell of a version once more, when no other followed', () => {
    const { clock, inventories, marks, state } = harness();
    clock.advance(10_000);
    expect(state.repeats).toBe(1);
    for (let i = 0; i < 5; i++) {
      inventories.set(entry(`e${i}`));
      clock.advance(200);
    }
    clock.advance(10_000);
    expect(marks.length).toBeGreaterThan(3);
    expect(state.repeats).toBe(2);
  });

  it('answer what others pull, and refuse what makes no sense', async () => {
    const { clock, inventories, announce, handlers, marks } = harness();
    inventories.set(web);
    announce(OTHER, [entry('db')]);
    await clock.run(1000);
    const ask = async (body: Uint8Array) => {
      const parts: Uint8Array[] = [];
      const answer = handlers.get('inventory.pull')!(
        body,
        { id: OTHER, name: 'b' },
        new AbortController().signal,
      );
      for await (const part of await answer) parts.push(part);
      return parts;
    };
    const { version } = marks.at(-1)!;
    const wants = [SELF, OTHER, THIRD].map((node) => ({
      node,
      have: 0,
      version: node === SELF ? version : 1,
    }));
    expect(await ask(encodePullRequest(wants))).toHaveLength(3);
    await expect(ask(Buffer.from('ffff', 'hex'))).rejects.toMatchObject({ code: 'INVENTORY_REQUEST' });
    inventories.stop();
    inventories.set(entry('late'));
    await clock.run(10_000);
    expect(marks.at(-1)!.version).toBe(version);
  });

  it('name a node that is there and whose attachments cannot be had', async () => {
    const { clock, inventories, announce, silence } = harness();
    silence();
    announce(OTHER, [web]);
    await clock.run(20_000);
    expect(inventories.problems()).toEqual([]);
    await clock.run(20_000);
    expect(inventories.problems()).toEqual([
      'what node node-a has attached has not been up to date here for 40 s',
    ]);
    announce(OTHER, [web], 'dead');
    expect(inventories.problems()).toEqual([]);
  });
});
