/**
 * What `kubectl apply -k deploy/kubernetes` makes, as one stream of YAML documents, with a configuration, an image and a
 * key of one's own put in. The files are taken as they are, comments included; only the two objects that kustomize
 * generates out of files are written here. A test compares the two where there is a kubectl.
 */
import { readFileSync } from 'node:fs';
import { packageFile, VERSION } from '../package.ts';

const FOLDER = 'deploy/kubernetes';
/** In this order: the namespace is there before what is in it. */
const PARTS = ['namespace.yaml', 'rbac.yaml', 'daemonset.yaml'];
const UNINSTALL_PART = 'uninstall/daemonset.yaml';
/** What the files name. */
const BASE_IMAGE = `warren:${VERSION}`;
const BASE_POD_CIDRS = '10.244.0.0/16';

export interface ManifestsOptions {
  /** Of the image that nodes can pull, or have; default: `warren:VERSION`. */
  readonly image?: string | undefined;
  /** Text of the agents' configuration; default: deploy/kubernetes/warren.yaml. */
  readonly config?: string | undefined;
  /** The cluster key; undefined: no Secret is among them, and the one that the cluster has stays. */
  readonly key?: string | undefined;
}

/** The configuration that the package brings. */
export function baseConfig(): string {
  return read('warren.yaml');
}

export function manifests({ image, config = baseConfig(), key }: ManifestsOptions): string {
  const [namespace, ...others] = PARTS.map((part) => withImage(read(part), image));
  const secret =
    key === undefined ? [] : [generated('Secret', 'warren-key', 'stringData', 'cluster.key', key)];
  const configMap = generated('ConfigMap', 'warren', 'data', 'warren.yaml', config);
  return [namespace!, configMap, ...secret, ...others].join('---\n');
}

/** Takes off the nodes what the above leaves there. `podCidrs`: as in the configuration. */
export function uninstallManifests(options: {
  readonly image?: string | undefined;
  readonly podCidrs: readonly string[];
}): string {
  const text = withImage(read(UNINSTALL_PART), options.image);
  return text.replace(
    `value: ${BASE_POD_CIDRS} }`,
    `value: ${JSON.stringify(options.podCidrs.join(', '))} }`,
  );
}

function read(file: string): string {
  return readFileSync(packageFile(`${FOLDER}/${file}`), 'utf8');
}

function withImage(text: string, image: string = BASE_IMAGE): string {
  return text.replaceAll(`image: ${BASE_IMAGE}\n`, `image: ${JSON.stringify(image)}\n`);
}

/** With one file in it, as a block of text, in which nothing means anything. */
function generated(kind: string, name: string, field: string, file: string, content: string): string {
  const lines = content.trimEnd().split('\n');
  return `apiVersion: v1
kind: ${kind}
metadata:
  name: ${name}
  namespace: warren
  labels:
    app.kubernetes.io/name: warren
${field}:
  ${file}: |
${lines.map((line) => (line === '' ? '' : `    ${line}`)).join('\n')}
`;
}
