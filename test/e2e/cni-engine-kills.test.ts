/**
 * SIGKILL of the runtime, `ctr` and Podman, at each step of an ADD and a DEL that it can tell apart: a plugin in the place of
 * ours kills whoever has started it, and goes on as ours does then. After that comes what libcni would say: DEL, or GC; or
 * nothing, and the agent finds that the namespace is gone. Nothing is left.
 *
 * A container's name says what happens to it: the command, the moment, and what comes after it.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { forEachAtOnce } from '../../src/attachment/keyed-queue.ts';
import { Lab } from '../../src/lab/lab.ts';
import { callPlugin, hostState } from '../helpers/cni-plugin.ts';
import { EngineHost, makeRoots, PATH, type Started } from '../helpers/engine-host.ts';
import { describeUnless, hasProgram, lacking } from '../helpers/requirements.ts';
import { throwawayNetns } from '../helpers/throwaway-netns.ts';

/** `$1` is a folder in which there is one for each container that this has happened to. */
const KILLING_PLUGIN = `#!/bin/sh
real=\${0%/*}/warren-cni-real
name=\${CNI_CONTAINERID#default-}
case $CNI_ARGS in *K8S_POD_NAME=*) name=\${CNI_ARGS##*K8S_POD_NAME=} name=\${name%%;*} ;; esac
moment=\${name#*-} moment=\${moment%-*} here=FOLDER/$name
if [ "\${name%%-*}" != "$CNI_COMMAND" ] || ! mkdir "$here" 2> /dev/null; then exec "$real"; fi
echo "$CNI_CONTAINERID" > "$here/id"; echo "$CNI_NETNS" > "$here/netns"; echo $$ > "$here/pid"
# It has let go of what it had open when it is gone, which takes a moment on a busy machine.
kill_runtime() {
  kill -KILL $PPID
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do kill -0 $PPID 2> /dev/null || break; sleep 0.05; done
  echo > "$here/killed"
}
run() { cat > "$here/input"; "$real" < "$here/input" > "$here/output"; code=$?; }
case $moment in
started) kill_runtime; exec "$real" ;;
read) cat > "$here/input"; kill_runtime; exec "$real" < "$here/input" ;;
late) cat > "$here/input"; kill_runtime; until [ -e FOLDER/go ]; do sleep 0.05; done; exec "$real" < "$here/input" ;;
working) cat > "$here/input"; "$real" < "$here/input" & sleep 0.05; kill_runtime; wait $!; code=$? ;;
done) run; kill_runtime; cat "$here/output" ;;
half) run; head -c 60 "$here/output"; kill_runtime; tail -c +61 "$here/output" ;;
printed) run; cat "$here/output"; kill_runtime ;;
ended)
  run; cat "$here/output"
  (exec < /dev/null > /dev/null 2>&1; while kill -0 $$; do :; done; kill_runtime) &
  ;;
esac
exit $code
`;

/** In the order in which a runtime goes through them. */
const ADD_MOMENTS = ['started', 'read', 'working', 'done', 'half', 'printed', 'ended'];
const DEL_MOMENTS = ['started', 'read', 'working', 'done', 'ended'];
const AFTERWARDS = ['del', 'gc', 'nothing'] as const;
const MOMENTS = [...ADD_MOMENTS.map((one) => `ADD-${one}`), ...DEL_MOMENTS.map((one) => `DEL-${one}`)];
const LATE = ['ADD-late-del', 'DEL-late-del'];
const ALL = [...MOMENTS.flatMap((moment) => AFTERWARDS.map((then) => `${moment}-${then}`)), ...LATE];
/** Of Podman, which takes half a second of processor time for each. */
const SOME = [...MOMENTS.map((moment, i) => `${moment}-${AFTERWARDS[i % 3]}`), ...LATE];
/** Nobody reads what their plugins say, who undo it then. */
const IS_UNDONE = /^ADD-(started|read)-/;
/** For what comes a moment later, be the machine busy. */
const WAIT = { timeout: 30_000, interval: 250 };
const CTRS_AT_ONCE = 10;
const PODMANS_AT_ONCE = 4;

describeUnless(
  lacking('root', 'ip', 'nsenter', 'unshare', 'debootstrap', 'containerd', 'ctr', 'runc', 'iptables'),
  'a runtime that is killed',
  () => {
    let lab: Lab;
    let folder: string;
    let host: EngineHost;
    let before: unknown;

    beforeAll(async () => {
      // Podman takes no folder with a longer name.
      folder = mkdtempSync('/var/tmp/warren-kills-');
      await makeRoots(folder, ['a/root']);
      lab = await Lab.up({ name: 'enginekills', nodes: 1, pods: 0 });
      host = new EngineHost(lab.node(0), join(folder, 'a'), join(folder, 'a/root'));
      await host.start();
      // What the first container of a host brings with it for good.
      const first = host.ctr(...runOfCtr('first', 'true'));
      expect(first, first.text).toMatchObject({ code: 0 });
      before = state();
    });
    afterAll(async () => {
      await host?.stop();
      await lab?.down();
      rmSync(folder, { recursive: true, force: true });
    });

    const runOfCtr = (name: string, ...argv: string[]) => [
      ...['run', '--rm', '--cni', '--env', PATH, '--rootfs', host.rootfs, name, ...argv],
    ];

    /** All that an attachment is made of, and the namespaces that the agent or the kernel's tables of the node refer to. */
    function state(): unknown {
      const { netns, pid } = host.node;
      const inNode = (...argv: string[]) =>
        execFileSync('nsenter', [`--net=${netns}`, '--', ...argv], { encoding: 'utf8' });
      const fds = readdirSync(`/proc/${pid}/fd`).map((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`);
        } catch {
          return '';
        }
      });
      const namespaces = fds.filter((target) => target.startsWith('net:')).length;
      return { host: hostState(netns), namespaces, ids: inNode('ip', 'netns', 'list-id') };
    }

    async function nothingLeft(): Promise<void> {
      await expect.poll(() => host.attached(), WAIT).toEqual([]);
      await expect.poll(state, WAIT).toEqual(before);
      const stateDir = join(host.node.folder, 'state');
      await expect.poll(() => readdirSync(join(stateDir, 'cni-deletes')), WAIT).toEqual([]);
      // The agent may be writing something else just now.
      const unfinished = () => readdirSync(stateDir).filter((name) => name.endsWith('.tmp'));
      await expect.poll(unfinished, WAIT).toEqual([]);
    }

    /** The place of what happens to containers of one runtime. */
    function killing(runtime: string): string {
      const bin = join(host.root, 'opt/cni/bin');
      const place = join(folder, runtime);
      mkdirSync(place);
      if (!existsSync(join(bin, 'warren-cni-real')))
        renameSync(join(bin, 'warren-cni'), join(bin, 'warren-cni-real'));
      writeFileSync(join(bin, 'new'), KILLING_PLUGIN.replaceAll('FOLDER', place));
      chmodSync(join(bin, 'new'), 0o755);
      renameSync(join(bin, 'new'), join(bin, 'warren-cni'));
      return place;
    }

    const noted = (place: string, name: string, what: string) =>
      readFileSync(join(place, name, what), 'utf8').trim();
    const names = () => host.attached().map(({ name }) => name.replace(/^default-/, ''));
    const isAlive = (pid: string) => existsSync(join('/proc', pid));

    /** What libcni would say next, after all of them have had their runtime killed. */
    async function afterwards(place: string, all: readonly string[]): Promise<void> {
      // They say so a moment after the end of the runtime.
      const isSpared = (name: string) => !existsSync(join(place, name, 'killed'));
      await expect.poll(() => all.filter(isSpared), WAIT).toEqual([]);
      const call = (name: string) => ({
        containerId: noted(place, name, 'id'),
        netns: noted(place, name, 'netns'),
      });
      const deleted = async (name: string) =>
        expect(await callPlugin(host.node, 'DEL', call(name)), name).toMatchObject({ exitCode: 0, text: '' });
      const again = throwawayNetns();
      for (const name of all.filter((one) => one.endsWith('-del'))) await deleted(name);
      // A container of the same id comes after that, and its plugin says DEL only now.
      const late = { ...call('DEL-late-del'), netns: again.path };
      expect(await callPlugin(host.node, 'ADD', late)).toMatchObject({ exitCode: 0 });
      writeFileSync(join(place, 'go'), '');
      const pids = all.map((name) => noted(place, name, 'pid'));
      await expect.poll(() => pids.filter(isAlive), WAIT).toEqual([]);
      const of = (containerId: string) => host.attached().filter(({ id }) => id.includes(`/${containerId}/`));
      expect(of(late.containerId)).toHaveLength(1);
      expect(await callPlugin(host.node, 'DEL', late)).toMatchObject({ exitCode: 0 });
      again.remove();
      expect(names().filter((name) => name.endsWith('-del') || IS_UNDONE.test(name))).toEqual([]);

      const kept = host.attached().filter(({ name }) => name.endsWith('-nothing'));
      await host.collect(kept.map(({ id }) => ({ containerID: id.split('/')[2]!, ifname: 'eth0' })));
      expect(host.attached()).toEqual(kept);
      expect(kept.length).toBeGreaterThan(0);
    }

    test('ctr, at each step of an ADD and a DEL', { timeout: 120_000 }, async () => {
      const place = killing('ctr');
      const program = (name: string) => (name.startsWith('ADD') ? ['sleep', '600'] : ['true']);
      await forEachAtOnce(ALL, CTRS_AT_ONCE, async (name) => {
        const { child, ended } = host.startCtr(...runOfCtr(name, ...program(name)));
        const said = await ended;
        // It may be through with its last step before that.
        if (!(name.startsWith('DEL-ended') && said.code === 0))
          expect(child.signalCode, `${name}: ${said.text}`).toBe('SIGKILL');
      });
      await afterwards(place, ALL);
      for (const name of ALL) host.ctr('task', 'delete', '--force', name);
      host.ctr('container', 'delete', ...ALL);
    });

    test('podman, at each step of an ADD and a DEL', { timeout: 120_000 }, async (context) => {
      if (!hasProgram('podman')) context.skip('podman is not installed');
      const place = killing('podman');
      const run = (name: string): Started => {
        const argv = ['--network', 'warren', '--name', name, '--rootfs', host.rootfs, 'sleep', '600'];
        return host.startPodman('run', '-d', ...argv);
      };
      await forEachAtOnce(SOME, PODMANS_AT_ONCE, async (name) => {
        const said = await run(name).ended;
        if (name.startsWith('ADD')) expect(said, said.text).toMatchObject({ code: null });
        // The one that takes its container away, or the one that cleans up after the container's end, is killed.
        if (name.startsWith('DEL')) await host.startPodman('rm', '-f', '-t', '0', name).ended;
      });
      await afterwards(place, SOME);
      for (const name of SOME) {
        const path = noted(place, name, 'netns');
        if (existsSync(path)) execFileSync('ip', ['netns', 'delete', basename(path)]);
      }
    });

    test('and what nobody said anything of goes by itself, with the agent killed as well', async () => {
      await host.node.kill('SIGKILL');
      host.node.start();
      await lab.ready();
      await nothingLeft();
    });
  },
);
