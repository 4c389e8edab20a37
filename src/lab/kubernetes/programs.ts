/** What scripts/kubernetes-build.mjs has made: Kubernetes' programs and the parts of images, in one folder. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WarrenError } from '../../errors.ts';

const NEEDED = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'kubectl',
  'pause',
];

export class KubernetesPrograms {
  readonly folder: string;

  /** Throws TOOL_MISSING where one of them is not there. */
  constructor(folder: string) {
    this.folder = folder;
    const missing = NEEDED.filter((name) => !existsSync(this.path(name)));
    if (missing.length === 0) return;
    throw new WarrenError('TOOL_MISSING', `${folder} has no ${missing.join(', ')}`, {
      hint: 'Build them: npm run kubernetes',
    });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** For tests of Kubernetes alone. */
  has(name: string): boolean {
    return existsSync(this.path(name));
  }
}
