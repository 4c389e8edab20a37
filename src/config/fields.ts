/** What one value of the configuration may be: each field's schema turns YAML's text into its typed form. */
import { isAbsolute } from 'node:path';
import { errorMessage } from '../errors.ts';
import { type IpAddress, parseAddress } from '../ip/address.ts';
import { type HostPort, parseEndpoint, parseHostPort } from '../ip/endpoint.ts';
import { parsePrefix } from '../ip/prefix.ts';
import {
  KUBERNETES_NODE_NAME,
  KUBERNETES_NODE_NAME_RULE,
  NODE_NAME,
  NODE_NAME_RULE,
  POD_NAME,
  POD_NAME_RULE,
} from '../names.ts';
import { z } from '../zod.ts';
import type { OffloadSwitches } from './config.ts';

/** `sun_path` of a unix socket holds 108 bytes with the closing zero (`unix(7)`). */
const MAX_SOCKET_PATH_BYTES = 107;
/** IFNAMSIZ, 16 with the closing zero (`linux/if.h`). */
const MAX_INTERFACE_NAME = 15;

export const DEFAULT_GOSSIP_PORT = 7946;

/** Text that `parse` turns into a value; what it throws becomes the problem's message. */
function parsed<T>(parse: (text: string) => T) {
  return z.string().transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: errorMessage(error) });
      return z.NEVER;
    }
  });
}

function matching(pattern: RegExp, message: string) {
  return z.string().refine((text) => pattern.test(text), { error: message });
}

export function wholeNumber(least: number, most: number) {
  return z.number().refine((value) => Number.isInteger(value) && value >= least && value <= most, {
    error: `must be a whole number from ${least} to ${most}`,
  });
}

/** 32 bytes as `wg` writes them. */
export const wireguardKey = z.string().transform((text, context) => {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length === 32 && bytes.toString('base64') === text) return new Uint8Array(bytes);
  context.addIssue({
    code: 'custom',
    message: 'must be a key as `wg genkey` and `wg pubkey` write it: 44 characters of base64',
  });
  return z.NEVER;
});

const UNIT_SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** `90s`, `30m`, `24h`, `7d`, as seconds. */
export function duration(leastSeconds: number, mostSeconds: number) {
  const message = `must be a time such as 90s, 30m, 24h or 7d, from ${formatDuration(leastSeconds)} to ${formatDuration(mostSeconds)}`;
  return z.string({ error: message }).transform((text, context) => {
    const [, count, unit] = /^([0-9]{1,9})([smhd])$/.exec(text) ?? [];
    const seconds = Number(count) * UNIT_SECONDS[unit as keyof typeof UNIT_SECONDS];
    if (seconds >= leastSeconds && seconds <= mostSeconds) return seconds;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}

/** In the largest unit that divides it. */
export function formatDuration(seconds: number): string {
  for (const unit of ['d', 'h', 'm'] as const) {
    if (seconds % UNIT_SECONDS[unit] === 0) return `${seconds / UNIT_SECONDS[unit]}${unit}`;
  }
  return `${seconds}s`;
}

/** As `warren status` shows it; ID_BYTES in hexadecimal. */
export const nodeId = matching(
  /^[0-9a-f]{32}$/,
  "must be a node's id, 32 hexadecimal digits as `warren status` shows it",
);

export function autoOrNumber(least: number, most: number) {
  const isInRange = (value: unknown) =>
    Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
  return z.custom<'auto' | number>((value) => value === 'auto' || isInRange(value), {
    error: `must be auto or a whole number from ${least} to ${most}`,
  });
}

/** A codepoint of the outer header (RFC 2474), or the inner packet's. */
export const dscp = z.custom<number | 'copy'>(
  (value) => value === 'copy' || (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 63),
  { error: 'must be copy or a whole number from 0 to 63' },
);

/** Every offload on or off. */
export function allOffloads(on: boolean): OffloadSwitches {
  return { tso: on, uso: on, udpSegment: on, udpGro: on, coalesceTcp: on, coalesceUdp: on, checksum: on };
}

const OFFLOAD_NAMES = Object.keys(allOffloads(true));

/** `auto`, `off`, or some switches by name with the rest on. */
export const offload = z
  .custom<'auto' | 'off' | Partial<OffloadSwitches>>(isOffload, {
    error: `must be auto, off, or some of ${OFFLOAD_NAMES.join(', ')} with true or false each`,
  })
  .transform((value): OffloadSwitches => {
    if (value === 'auto' || value === 'off') return allOffloads(value === 'auto');
    return { ...allOffloads(true), ...value };
  });

function isOffload(value: unknown): boolean {
  if (value === 'auto' || value === 'off') return true;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(([key, on]) => OFFLOAD_NAMES.includes(key) && typeof on === 'boolean');
}

export const port = wholeNumber(1, 65_535);

/** A node's or peer's name. */
export const nodeName = matching(NODE_NAME, `must be a host name: ${NODE_NAME_RULE}`);

/** Of a Node of Kubernetes. */
export const kubernetesNodeName = matching(
  KUBERNETES_NODE_NAME,
  `must be the name of a Node: ${KUBERNETES_NODE_NAME_RULE}`,
);

export const podName = matching(POD_NAME, `must be a pod name: ${POD_NAME_RULE}`);

export const clusterName = matching(
  /^[A-Za-z0-9._-]{1,63}$/,
  'must be 1 to 63 letters, digits, dots, underscores and hyphens',
);

export const interfaceName = z.string().refine(
  // The kernel refuses `.`, `..`, `/` and white space, and gives `%` and `:` a meaning of their own.
  (text) => /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(text) && text.length <= MAX_INTERFACE_NAME,
  { error: 'must be an interface name: 1 to 15 letters, digits, dots, underscores and hyphens' },
);

export const absolutePath = z.string().refine((text) => isAbsolute(text) && !text.includes('\0'), {
  error: 'must be an absolute path (start it with /)',
});

export const socketPath = absolutePath.refine((text) => Buffer.byteLength(text) <= MAX_SOCKET_PATH_BYTES, {
  error: `must be at most ${MAX_SOCKET_PATH_BYTES} bytes long, which is all that a unix socket's path can be`,
});

/** A group's name or, in quotes, its number. No `:`, which ends a field of /etc/group, and no option for `getent`. */
export const groupName = matching(
  /^[A-Za-z0-9_][A-Za-z0-9._-]{0,31}$/,
  'must be a group of this host: 1 to 32 letters, digits, dots, underscores and hyphens',
);

export const prefix = parsed(parsePrefix);
/** As text takes one that says no port, which is known later. */
const NO_PORT = 65_535;

/** Its port is undefined where it says none. */
export const endpoint = parsed((text) => {
  const withDefault = parseEndpoint(text, NO_PORT);
  const saysNone = withDefault.port === NO_PORT && parseEndpoint(text, 1).port === 1;
  return { address: withDefault.address, port: saysNone ? undefined : withDefault.port };
});
export const seed = parsed((text) => checkedHost(parseHostPort(text, DEFAULT_GOSSIP_PORT)));

export const address = parsed((text): IpAddress => {
  try {
    return parseAddress(text);
  } catch {
    throw new Error(`must be an IP address, not "${text}"`);
  }
});

export const addressOrAuto = parsed((text): IpAddress | 'auto' => {
  if (text === 'auto') return 'auto';
  try {
    return parseAddress(text);
  } catch {
    throw new Error(`must be auto or an IP address of this node, not "${text}"`);
  }
});

/** `127.0.0.1:9095`, `localhost:9095`, a port alone, which is a port of the loopback address, `auto` or `off`. */
export const listenAddress = z.union(
  [
    z.enum(['auto', 'off']),
    port.transform((number): HostPort => ({ host: '127.0.0.1', port: number })),
    parsed((text) => checkedHost(parseHostPort(text))),
  ],
  { error: 'must be address:port, such as 127.0.0.1:9095, auto or off' },
);

/** An address, or a name that a resolver can look up. */
function checkedHost(value: HostPort): HostPort {
  if (value.host.includes(':') || /^[\d.]+$/.test(value.host)) {
    parseAddress(value.host);
  } else if (!/^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?$/.test(value.host)) {
    throw new Error(`"${value.host}" is neither a host name nor an IP address`);
  }
  return value;
}
