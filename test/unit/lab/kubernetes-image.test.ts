/** Images that are made without an engine have the shape of `docker save`. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ImageFolder, packImage } from '../../../src/lab/kubernetes/image.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-image-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('an archive names its configuration, and that its one layer by what is in it', async () => {
  const image = new ImageFolder(join(folder, 'root'));
  image.text('/bin/hello', '#!/bin/sh\n', 0o755);
  image.link('hello', '/bin/other');
  const path = join(folder, 'image.tar');
  await packImage(image, ['docker.io/library/test:1'], path, { entrypoint: ['/bin/hello'] });
  execFileSync('tar', ['-xf', path, '-C', folder]);
  const read = (name: string) => readFileSync(join(folder, name));
  const [{ Config, RepoTags, Layers }] = JSON.parse(read('manifest.json').toString()) as [
    { Config: string; RepoTags: string[]; Layers: string[] },
  ];
  expect(RepoTags).toEqual(['docker.io/library/test:1']);
  const hash = (name: string) => createHash('sha256').update(read(name)).digest('hex');
  expect(Config).toBe(`${hash(Config)}.json`);
  expect(JSON.parse(read(Config).toString())).toMatchObject({
    os: 'linux',
    config: { Entrypoint: ['/bin/hello'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${hash(Layers[0]!)}`] },
  });
  const listed = execFileSync('tar', ['-tvf', join(folder, Layers[0]!)], { encoding: 'utf8' });
  expect(listed).toMatch(/^-rwxr-xr-x 0\/0 .* \.\/bin\/hello$/m);
  expect(listed).toMatch(/\.\/bin\/other -> hello$/m);
  expect(listed).toMatch(/^drwxrwxrwt .* \.\/tmp\/$/m);
});

it('the same files are the same archive', async () => {
  const made = await Promise.all(
    ['a', 'b'].map(async (name) => {
      const image = new ImageFolder(join(folder, name));
      image.text('/file', 'content');
      const path = join(folder, `${name}.tar`);
      await packImage(image, ['test'], path, { entrypoint: ['/file'] });
      return execFileSync('tar', ['-xOf', path, 'manifest.json'], { encoding: 'utf8' });
    }),
  );
  expect(made[0]).toBe(made[1]);
});
