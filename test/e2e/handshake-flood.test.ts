/**
 * Handshakes from forged addresses, each of which shows that its sender knows the node's public key: traffic goes on, who is a
 * peer gets new sessions, nobody is missed, and each of them is counted. What it costs is the benchmark's (warren bench flood).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compilePrograms } from '../../src/bench/compile.ts';
import { makeInitiations } from '../../src/bench/flood.ts';
import type { LabHost } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { PATIENTLY, ping } from '../helpers/overlay-endpoints.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const PER_SECOND = 10_000;
/** Who is told to show that it receives at its address does so five seconds later, as WireGuard's paper has it. */
const SECONDS = 9;
const COUNT = PER_SECOND * SECONDS;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter', 'gcc'), 'a flood of handshakes', () => {
  const folder = mkdtempSync(join(tmpdir(), 'warren-flood-test-'));
  let programs: Awaited<ReturnType<typeof compilePrograms>>;
  let lab: Lab;
  let attacker: LabHost;

  beforeAll(async () => {
    programs = await compilePrograms();
    lab = await Lab.up({ name: 'flood', nodes: 3, pods: 1 });
    attacker = await lab.addHost('attacker');
    const via = ['via', attacker.addresses.ipv4];
    await mustRun(lab.node(0), ['ip', 'route', 'add', '198.18.0.0/15', ...via]);
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    programs?.remove();
    await lab?.down();
  });

  async function flood(): Promise<number> {
    const { handshakeFlood } = programs;
    if ('missing' in handshakeFlood) throw new Error(handshakeFlood.missing);
    const { encapsulation } = (await lab.node(0).view()).status;
    const file = join(folder, 'initiations');
    writeFileSync(file, await makeInitiations(Buffer.from(encapsulation.publicKey!, 'base64')));
    const argv = [handshakeFlood.path, lab.node(0).addresses.ipv4, String(encapsulation.port)];
    const { stdout } = await attacker.exec([...argv, String(PER_SECOND), String(COUNT), '148', file]);
    return Number(stdout);
  }

  test('leaves sessions that there are, lets peers have new ones, and is counted', async () => {
    const [a, b, c] = lab.nodes;
    const [web, db, cache] = await Promise.all([0, 1, 2].map((node) => lab.pod(node, 'pod-1')));
    expect((await ping(db!, web!.address(4), PATIENTLY)).code).toBe(0);
    const refused = async () => (await a!.view()).status.datapath.drops;
    const before = await refused();
    const sending = flood();
    // 20 a second over the session that there is, for as long as the flood lasts.
    const pings = db!.exec(['ping', '-i', '0.05', '-c', String(20 * SECONDS), ...PATIENTLY, web!.address(4)]);
    // A peer that is started anew, in the middle of it.
    await c!.stop();
    c!.start();
    await lab.ready();
    const reaches = async () => (await ping(cache!, web!.address(6))).code;
    await expect.poll(reaches, { timeout: 40_000, interval: 200 }).toBe(0);
    expect((await pings).stdout).toContain(' 0% packet loss');
    const sent = await sending;
    expect(sent).toBe(COUNT);
    const after = await refused();
    const counted = (name: string) => after[name]! - before[name]!;
    const all = counted('inbound-handshake-refused') + counted('inbound-socket-overflow');
    expect(all).toBeGreaterThanOrEqual(sent);
    // Those of the node that was started anew, while its address was not known again.
    expect(all).toBeLessThan(sent + 50);
    const statuses = async () => (await b!.view()).peers.map((peer) => peer.status);
    await expect.poll(statuses, { timeout: 20_000 }).toEqual(['alive', 'alive']);
  });
});
