/** The host's files of resolvers: read again where they have changed, and not more often than that. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { HostResolvers } from '../../../src/dns/host-resolvers.ts';

it('are those of all files in their order, looked for again after 2 s', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'warren-resolvers-'));
  try {
    const files = ['resolv.conf', 'resolved.conf'].map((name) => join(folder, name));
    const resolvers = new HostResolvers(files);
    const isOwn = (address: string) => address === '10.42.1.1';
    expect(await resolvers.list(0, isOwn)).toEqual([]);
    writeFileSync(files[0]!, 'nameserver 127.0.0.53\nnameserver 10.42.1.1\n');
    expect(await resolvers.list(1999, isOwn)).toEqual([]);
    expect(await resolvers.list(2000, isOwn)).toEqual(['127.0.0.53']);
    writeFileSync(files[1]!, 'nameserver 192.0.2.1\nnameserver 127.0.0.53\n');
    expect(await resolvers.list(4000, isOwn)).toEqual(['127.0.0.53', '192.0.2.1']);
    writeFileSync(files[0]!, 'nameserver 192.0.2.9\n');
    rmSync(files[1]!);
    expect(await resolvers.list(6000, isOwn)).toEqual(['192.0.2.9']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
