/** What a runtime wants of one attachment, beside the attachment itself: addresses, a name, labels. */
import { CNI_ERROR, CniError } from './errors.ts';
import {
  argsOf,
  type Environment,
  invalidConfig,
  isObject,
  type JsonObject,
  objectAt,
  unsupported,
} from './request.ts';

/** Capability of containerd's and CRI-O's Kubernetes side. */
const POD_ANNOTATIONS = 'io.kubernetes.cri.pod-annotations';
/** What the agent takes (src/names.ts, src/attachment/attachment.ts), less room for the labels that we make. */
const MAX_LABELS = 32;
const MAX_LABEL_BYTES = 1800;
/** An annotation may be a whole manifest; a label is a word or two. */
const MAX_VALUE_BYTES = 128;

/** CNI_ARGS of Kubernetes runtimes, and what CRI calls the same in a container's labels. */
const KUBERNETES: Readonly<Record<string, string>> = {
  K8S_POD_NAMESPACE: 'io.kubernetes.pod.namespace',
  K8S_POD_NAME: 'io.kubernetes.pod.name',
  K8S_POD_UID: 'io.kubernetes.pod.uid',
};

export interface Wishes {
  /** Undefined: the runtime says none. */
  readonly name: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
}

/** Throws 2 for a hardware address, 4 and 7 for what is not as it must be. */
export function wishesOf(raw: JsonObject, env: Environment): Wishes {
  const args = argsOf(env);
  const runtimeConfig = objectAt(raw, 'runtimeConfig');
  const cniArgs = objectAt(objectAt(raw, 'args'), 'cni');
  refuseHardwareAddress(runtimeConfig.mac, 'runtimeConfig.mac');
  refuseHardwareAddress(cniArgs.mac, 'args.cni.mac');
  refuseHardwareAddress(args.MAC, 'CNI_ARGS MAC');
  return {
    name: nameOf(args),
    labels: labelsOf(args, runtimeConfig, cniArgs),
    addresses:
      addressesOf(runtimeConfig.ips, 'runtimeConfig.ips') ?? addressesOf(cniArgs.ips, 'args.cni.ips') ?? [],
  };
}

function refuseHardwareAddress(value: unknown, key: string): void {
  if (value === undefined || value === null || value === '') return;
  throw unsupported(
    key,
    value,
    'a pod has a link of its own, on which nobody but its node sees the hardware address; leave it out',
  );
}

function nameOf({ K8S_POD_NAMESPACE: namespace, K8S_POD_NAME: name }: Readonly<Record<string, string>>) {
  if (!name) return undefined;
  return namespace ? `${namespace}/${name}` : name;
}

/** What does not fit is left out: nobody is to lose a pod for its annotations. */
function labelsOf(
  args: Readonly<Record<string, string>>,
  runtimeConfig: JsonObject,
  cniArgs: JsonObject,
): Record<string, string> {
  const labels: Record<string, string> = {};
  let bytes = 0;
  const add = (key: unknown, value: unknown): void => {
    if (typeof key !== 'string' || typeof value !== 'string' || key === '' || Object.hasOwn(labels, key))
      return;
    const size = Buffer.byteLength(key) + Buffer.byteLength(value);
    const fits = bytes + size <= MAX_LABEL_BYTES && Object.keys(labels).length < MAX_LABELS;
    if (!fits || Buffer.byteLength(value) > MAX_VALUE_BYTES || UNPRINTABLE.test(key + value)) return;
    Object.defineProperty(labels, key, { value, enumerable: true });
    bytes += size;
  };
  for (const [from, to] of Object.entries(KUBERNETES)) add(to, args[from] || undefined);
  for (const label of Array.isArray(cniArgs.labels) ? cniArgs.labels : []) {
    if (isObject(label)) add(label.key, label.value);
  }
  const annotations = runtimeConfig[POD_ANNOTATIONS];
  if (isObject(annotations)) for (const [key, value] of Object.entries(annotations)) add(key, value);
  return labels;
}

/** As src/names.ts has it, which would be one more file to load. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

/** Undefined if there are none. A prefix length behind an address says nothing here. */
function addressesOf(value: unknown, key: string): string[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || value.some((one) => typeof one !== 'string')) {
    throw invalidConfig(key, value, 'it must be a list of addresses');
  }
  const texts = (value as string[]).map((text) => text.split('/', 1)[0]!);
  const families = texts.map((text) => (text.includes(':') ? 6 : 4));
  if (new Set(families).size === families.length) return texts.length > 0 ? texts : undefined;
  throw new CniError(
    CNI_ERROR.invalidConfig,
    `invalid network configuration: ${key} has two addresses of one family`,
  );
}
