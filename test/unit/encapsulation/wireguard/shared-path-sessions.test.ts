import { beforeEach, expect, it } from 'vitest';
import { MAPPED_WORD } from '../../../../src/datapath/forwarding.ts';
import { VtepTable } from '../../../../src/datapath/vtep-table.ts';
import { type Notice, readNotice } from '../../../../src/encapsulation/wireguard/notices.ts';
import { Session } from '../../../../src/encapsulation/wireguard/session.ts';
import { SharedPathSessions } from '../../../../src/encapsulation/wireguard/shared-path-sessions.ts';
import { SharedSessions } from '../../../../src/encapsulation/wireguard/shared-sessions.ts';
import { buildFdbSnapshot } from '../../../../src/fdb/snapshot.ts';
import { Arena } from '../../../../src/sys/arena.ts';
import { writeSockaddr } from '../../../../src/sys/sockaddr.ts';

const VTEP = 0;
const ADDRESS = 0x0a00_0001;
const PORT = 51_820;
/** As the forwarding state has it. */
const ENDPOINT = [0, PORT, 1_440, 0, 0, MAPPED_WORD, ADDRESS];

let shared: SharedSessions;
let path: SharedPathSessions;
let vteps: VtepTable;
let notices: Notice[];
let hasRoom: boolean;
let ended: number[];
let memory: Arena;
let nowMs: number;

beforeEach(() => {
  shared = new SharedSessions();
  vteps = new VtepTable(4);
  load();
  notices = [];
  hasRoom = true;
  ended = [];
  nowMs = 1_000;
  path = new SharedPathSessions({
    ...{ shared, vteps, underlayFamily: 4, nowMs: () => nowMs },
    sendNotice: ({ bytes }, length) => {
      if (hasRoom) notices.push(readNotice(Buffer.from(bytes.slice(0, length)))!);
      return hasRoom;
    },
  });
  path.onEnd = ({ localIndex }) => ended.push(localIndex);
  memory = new Arena(4_096);
  path.receivesInto(memory);
  path.begin();
});

function load(): void {
  vteps.load({
    vteps: Int32Array.of(...ENDPOINT),
    ...{ fdb: buildFdbSnapshot([]), ownIpv4: undefined, ownIpv6: undefined, probeIdentifier: 0 },
  });
}

function add(createdAtMs: number, isInitiator: boolean, vtep = VTEP): number {
  const index = shared.propose(0, 1, () => true);
  const keys = { send: Buffer.alloc(32, 1), receive: Buffer.alloc(32, 2) };
  shared.add(
    new Session({ keys, localIndex: index, remoteIndex: 7 }, isInitiator, createdAtMs, shared.nonces(index)),
    vtep,
  );
  return index;
}

/** A packet of `index` opened that came from there. */
function opened(index: number, address = ADDRESS, port = PORT): void {
  writeSockaddr(memory.view, 64, Int32Array.of(address), port);
  path.opened(path.receivingAt(index)!, true, 64);
}

it('answers the first packet of a session with its keys, and tells of it until it is heard', () => {
  const old = add(10, true);
  shared.sendWith(VTEP, old);
  const next = add(900, false);
  expect(path.sendingTo(VTEP)!.localIndex).toBe(old);
  hasRoom = false;
  opened(next);
  expect(path.sendingTo(VTEP)!.localIndex).toBe(next);
  hasRoom = true;
  opened(next);
  opened(next);
  expect(notices).toEqual([{ kind: 'confirmed', localIndex: next }]);
  // What was on the way when the keys changed.
  opened(old);
  expect(path.sendingTo(VTEP)!.localIndex).toBe(next);
});

it('uses nothing that has expired, is over, or was never there', () => {
  const index = add(1_000, true);
  shared.sendWith(VTEP, index);
  expect(path.receivingAt(index)).toBeDefined();
  nowMs += 179_000;
  path.begin();
  expect(path.sendingTo(VTEP)).toBeDefined();
  nowMs += 1_000;
  path.begin();
  expect([path.sendingTo(VTEP), path.receivingAt(index)]).toEqual([undefined, undefined]);
  nowMs = 1_000;
  path.begin();
  const before = path.receivingAt(index)!.session;
  shared.remove(index);
  expect([path.sendingTo(VTEP), path.receivingAt(index), path.receivingAt(0)]).toEqual(
    Array(3).fill(undefined),
  );
  path.refresh();
  expect(ended).toEqual([index]);
  expect(before.sendKey.equals(Buffer.alloc(32))).toBe(true);
});

it('tells once where a peer has moved to, and sends there when it is told to, also by a new forwarding state', () => {
  const index = add(1_000, true);
  opened(index);
  notices = [];
  opened(index, 0x0a00_0009, 4_711);
  opened(index, 0x0a00_0009, 4_711);
  expect(notices).toEqual([
    { kind: 'roamed', localIndex: index, from: Uint8Array.of(10, 0, 0, 9, 0x12, 0x67) },
  ]);
  shared.move(VTEP, [0x0a00_0009], 4_711);
  path.begin();
  const at = () => {
    writeSockaddr(memory.view, 128, Int32Array.of(0x0a00_0009), 4_711);
    return vteps.isAt(VTEP, memory.view, 128);
  };
  expect(at()).toBe(true);
  load();
  expect(at()).toBe(false);
  path.refresh();
  expect(at()).toBe(true);
});

it('opens what a peer sends before the forwarding state has it, and follows it from then on', () => {
  const index = add(1_000, false, VTEP + 1);
  opened(index, 0x0a00_0009, 4_711);
  expect(notices).toEqual([{ kind: 'confirmed', localIndex: index }]);
  vteps.load({
    vteps: Int32Array.of(...ENDPOINT, 0, 0, 1_420, 0, 0, 0, 0),
    ...{ fdb: buildFdbSnapshot([]), ownIpv4: undefined, ownIpv6: undefined, probeIdentifier: 0 },
  });
  expect(vteps.mtu(VTEP + 1)).toBe(1_420);
  opened(index, 0x0a00_0009, 4_711);
  expect(notices.at(-1)).toMatchObject({ kind: 'roamed', localIndex: index });
});

it('hands on packets that wait, with who the VTEP is, and handshakes that went astray', () => {
  memory.bytes.set([1, 2, 3], 200);
  expect(path.wait(VTEP, memory, 200, 3)).toBe(true);
  writeSockaddr(memory.view, 64, Int32Array.of(ADDRESS), PORT);
  path.handshake(200, 2, 64);
  expect(notices).toEqual([
    { kind: 'waiting', vtep: VTEP, serial: shared.serial(VTEP), packet: Buffer.from([1, 2, 3]) },
    { kind: 'handshake', datagram: Buffer.from([1, 2]), from: Uint8Array.of(10, 0, 0, 1, 0xca, 0x6c) },
  ]);
  hasRoom = false;
  expect(path.wait(VTEP, memory, 200, 3)).toBe(false);
});
