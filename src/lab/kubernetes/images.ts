/** The images that a cluster's nodes have: what Kubernetes wants, what checks run, and warren of this checkout's build. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { VERSION } from '../../package.ts';
import { ImageFolder, packImage, warrenImage } from './image.ts';
import { PAUSE_IMAGE } from './node-programs.ts';
import type { KubernetesPrograms } from './programs.ts';

export const WARREN_IMAGE = `docker.io/library/warren:${VERSION}`;
export const BUSYBOX_IMAGE = 'docker.io/library/busybox:lab';

/** The archives' paths: pause, busybox, warren, and where it was built what Kubernetes' own tests run. */
export async function makeImages(
  folder: string,
  programs: KubernetesPrograms,
  forTests: boolean,
): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const archives: string[] = [];
  const pack = async (
    image: ImageFolder,
    names: readonly string[],
    entrypoint: readonly string[],
    cmd: readonly string[] = [],
  ) => {
    const path = join(folder, `${archives.length}.tar`);
    await packImage(image, names, path, { entrypoint, cmd });
    rmSync(image.root, { recursive: true });
    archives.push(path);
  };
  const root = join(folder, 'root');
  const pause = new ImageFolder(root);
  pause.file(programs.path('pause'), '/pause');
  await pack(pause, [PAUSE_IMAGE], ['/pause']);
  const busybox = new ImageFolder(root);
  await busybox.busybox(programs.path('busybox'));
  await pack(busybox, [BUSYBOX_IMAGE, 'docker.io/library/busybox:1.29'], []);
  await pack(await warrenImage(root), [WARREN_IMAGE], ['warren']);
  if (!forTests) return archives;
  await pack(
    await testImage(root, programs),
    ['k8s.gcr.io/e2e-test-images/agnhost:2.21'],
    ['/agnhost'],
    ['pause'],
  );
  // Those that only have to run, and to answer.
  const servers = ['nginx:1.14-alpine', 'nginx:1.15-alpine', 'httpd:2.4.38-alpine', 'httpd:2.4.39-alpine'];
  const names = servers.map((name) => `docker.io/library/${name}`);
  await pack(await testImage(root, programs), names, ['/agnhost', 'netexec', '--http-port=80']);
  const conntrack = await testImage(root, programs);
  await conntrack.program('conntrack');
  await conntrack.program('iptables');
  await pack(conntrack, ['k8s.gcr.io/build-image/debian-iptables:buster-v1.3.0'], []);
  return archives;
}

/** Kubernetes' own server and client for tests, with the programs that they call in it. */
async function testImage(root: string, programs: KubernetesPrograms): Promise<ImageFolder> {
  const image = new ImageFolder(root);
  image.file(programs.path('agnhost'), '/agnhost');
  for (const name of ['localhost.crt', 'localhost.key']) image.file(programs.path(name), `/${name}`);
  await image.program('curl');
  await image.program('nc.openbsd', '/bin/nc');
  // That of Debian's busybox crashes at -T.
  await image.program('wget');
  // busybox' own takes its own programs before those of the PATH.
  await image.program('sh');
  await image.busybox(programs.path('busybox'));
  return image;
}
