/** What `warren cni install` copies, and what it says of hosts on which that does not run. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkRoot } from '../../../src/cni-install/install.ts';
import { lackingLibraries, loadedLibraries, ownLibraries } from '../../../src/cni-install/libraries.ts';
import { explain, needsNewerLibraries } from '../../../src/cni-install/trial.ts';
import { Conflists } from '../../../src/cni-server/conflists.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'warren-cni-install-'));
});
afterEach(() => rmSync(root, { recursive: true }));

describe('libraries', () => {
  it('are those of this process, but for the C library', () => {
    const loaded = loadedLibraries();
    expect(loaded.some((path) => path.includes('libc.so'))).toBe(true);
    expect(ownLibraries(loaded).filter((path) => /lib(c|m|dl|pthread)\.so|ld-linux/.test(path))).toEqual([]);
    const paths = [
      'linux-vdso.so.1',
      '/lib64/ld-linux-x86-64.so.2',
      '/lib/x/libm.so.6',
      '/lib/x/libatomic.so.1',
      '/usr/lib/x/libstdc++.so.6',
      '/lib/x/libcrypto.so.3',
    ];
    expect(ownLibraries(paths)).toEqual([
      '/lib/x/libatomic.so.1',
      '/usr/lib/x/libstdc++.so.6',
      '/lib/x/libcrypto.so.3',
    ]);
  });

  it('are lacking where the host has them nowhere that its loader looks', () => {
    const [here, there] = [
      '/usr/lib/x86_64-linux-gnu/libstdc++.so.6',
      '/lib/x86_64-linux-gnu/libatomic.so.1',
    ];
    expect(lackingLibraries([here, there], root)).toEqual([here, there]);
    mkdirSync(join(root, 'usr/lib64'), { recursive: true });
    writeFileSync(join(root, 'usr/lib64/libstdc++.so.6'), '');
    expect(lackingLibraries([here, there], root)).toEqual([there]);
  });
});

describe('a host on which it does not run', () => {
  const tooOld =
    "/x/node: /lib/x86_64-linux-gnu/libm.so.6: version `GLIBC_2.28' not found (required by /x/node)";

  it('is said to have too old a C library', () => {
    expect(explain(tooOld, '/host')).toMatchObject({
      code: 'CNI_HOST_TOO_OLD',
      message: expect.stringContaining('GLIBC 2.28'),
    });
    expect(needsNewerLibraries(tooOld)).toBe(false);
  });

  it('is said to have musl', () => {
    mkdirSync(join(root, 'lib'));
    writeFileSync(join(root, 'lib/ld-musl-x86_64.so.1'), '');
    for (const problem of [
      '/bin/sh: /x/node: not found',
      'Error relocating /x/node: gnu_get_libc_version: symbol not found',
    ])
      expect(explain(problem, root)).toMatchObject({ code: 'CNI_HOST_MUSL' });
  });

  it('gets libraries of ours where its own are older or absent', () => {
    expect(needsNewerLibraries("/lib/libstdc++.so.6: version `GLIBCXX_3.4.29' not found")).toBe(true);
    expect(
      needsNewerLibraries(
        'node: error while loading shared libraries: libatomic.so.1: cannot open shared object file',
      ),
    ).toBe(true);
    expect(explain('Illegal instruction', root)).toMatchObject({ code: 'CNI_PLUGIN_FAILED' });
  });
});

describe('a root', () => {
  it('of the kernel, or that is not there, is refused before anything is made in it', () => {
    checkRoot(root);
    checkRoot('/');
    for (const [bad, why] of [
      ['/proc', /of the kernel \(proc\)/],
      ['/proc/self', /of the kernel/],
      ['/sys', /of the kernel \(sysfs\)/],
      [join(root, 'none'), /there is no folder/],
      ['/proc/none/host', /there is no folder/],
    ] as const) {
      expect(() => checkRoot(bad)).toThrow(
        expect.objectContaining({ code: 'CNI_ROOT_UNWRITABLE', message: expect.stringMatching(why) }),
      );
    }
    mkdirSync(join(root, 'host'));
    symlinkSync('/proc', join(root, 'host/opt'));
    expect(() => checkRoot(join(root, 'host'))).toThrow(/of the kernel/);
  });
});

describe('network configurations', () => {
  it('are remembered for so many places, and no more', () => {
    const conflists = new Conflists({ stateDir: root, nodeId: 'n', socket: '/s', queue: '/q' });
    const place = (i: number) => ({
      conflist: join(root, `${i}.conflist`),
      plugin: join(root, 'plugin'),
      portmap: false,
    });
    for (let i = 0; i < 8; i++) conflists.install(place(i));
    expect(() => conflists.install(place(8))).toThrow(expect.objectContaining({ code: 'CNI_INSTALL_LIMIT' }));
    conflists.install(place(7));
    conflists.uninstall(place(7).conflist);
    conflists.install(place(8));
  });

  it('that cannot be written are an error', () => {
    const conflists = new Conflists({ stateDir: root, nodeId: 'n', socket: '/s', queue: '/q' });
    writeFileSync(join(root, 'plugin'), '');
    conflists.install({
      conflist: join(root, 'plugin', '10-warren.conflist'),
      plugin: join(root, 'plugin'),
      portmap: false,
    });
    expect(() => conflists.write()).toThrow(expect.objectContaining({ code: 'CNI_CONFLIST_UNWRITABLE' }));
  });
});
