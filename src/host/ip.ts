/** iproute2 as typed calls: `ip -json` to look, `ip -batch -` to change. */
import { WarrenError } from '../errors.ts';
import type { Family } from '../ip/address.ts';
import { z } from '../zod.ts';
import { HostCommandError, type InNetns, runCommand } from './command.ts';

const link = z.object({
  ifname: z.string(),
  ifindex: z.number(),
  mtu: z.number(),
  flags: z.array(z.string()),
  /** `none` for a TUN device, `ether` for a veth. */
  link_type: z.string(),
  address: z.string().optional(),
  /** The index of a veth's other end, in its own namespace. */
  link_index: z.number().optional(),
  /** The most segments of a superpacket that is sent here. */
  gso_max_segs: z.number().optional(),
  linkinfo: z.object({ info_kind: z.string().optional() }).optional(),
  inet6_addr_gen_mode: z.string().optional(),
});
export type Link = z.output<typeof link>;

const addressInfo = z.object({
  family: z.string(),
  local: z.string(),
  prefixlen: z.number(),
  scope: z.string(),
  temporary: z.boolean().optional(),
  deprecated: z.boolean().optional(),
  tentative: z.boolean().optional(),
});
const linkAddresses = link.extend({
  addr_info: z.array(z.looseObject({ local: z.string().optional() })),
});
export type AddressInfo = z.output<typeof addressInfo>;
export interface LinkAddresses extends Link {
  readonly addresses: readonly AddressInfo[];
}

const route = z.object({
  /** Absent: unicast. */
  type: z.string().optional(),
  /** `default`, an address (a host route) or a prefix. */
  dst: z.string(),
  gateway: z.string().optional(),
  dev: z.string().optional(),
  protocol: z.string().optional(),
  prefsrc: z.string().optional(),
  metric: z.number().optional(),
  /** Absent: main, where only that is asked for. */
  table: z.string().optional(),
  /** Preference of a router (RFC 4191): only IPv6 has one, and every IPv6 route. */
  pref: z.string().optional(),
});
export type Route = z.output<typeof route>;

/** Interfaces with their addresses, and marked routes of the main table, as they were at one moment. */
export interface NetworkView {
  readonly links: readonly LinkAddresses[];
  readonly routes: readonly (Route & { readonly family: Family })[];
}

/** The interface called `name`; undefined if there is none. */
export async function findLink(name: string, where: InNetns = {}): Promise<Link | undefined> {
  try {
    return (await showJson(link, ['-details', 'link', 'show', 'dev', name], where))[0];
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Every interface with its addresses, or the one called `name`. */
export async function listAddresses(where: InNetns & { name?: string } = {}): Promise<LinkAddresses[]> {
  const which = where.name === undefined ? [] : ['dev', where.name];
  return withAddresses(await showJson(linkAddresses, ['-details', 'address', 'show', ...which], where));
}

/**
 * All that is to be watched of a host, by one `ip`: to start one takes longer than what it does. `routeProtocol`
 * is the mark of the routes (rtm_protocol).
 */
export async function viewNetwork(routeProtocol: string, where: InNetns = {}): Promise<NetworkView> {
  const argv = ['ip', '-json', '-details', '-batch', '-'];
  // Without a family, and of `table all` only, iproute2 lists the routes of both.
  const stdin = `address show\nroute show table all proto ${routeProtocol}\n`;
  const [links = '', routes = ''] = (await runCommand(argv, { ...where, stdin })).split('\n');
  return {
    links: withAddresses(parseJson(linkAddresses, links, argv)),
    routes: parseJson(route, routes, argv)
      .filter(({ table = 'main' }) => table === 'main')
      .map((one) => ({ ...one, family: one.pref === undefined && !one.dst.includes(':') ? 4 : 6 })),
  };
}

function withAddresses(links: readonly z.output<typeof linkAddresses>[]): LinkAddresses[] {
  return links.map(({ addr_info, ...link }) => ({
    ...link,
    // A point-to-point address may lack parts; it is none of the kinds that are looked for here.
    addresses: addr_info.flatMap((info) => addressInfo.safeParse(info).data ?? []),
  }));
}

/** Routes of the main table, further chosen by iproute2's own words (`dev X`, `type unreachable`). */
export async function listRoutes(
  family: Family,
  selector: readonly string[],
  where: InNetns = {},
): Promise<Route[]> {
  try {
    return await showJson(route, [`-${family}`, 'route', 'show', ...selector], where);
  } catch (error) {
    // A kernel without a family answers that the table does not exist.
    if (error instanceof HostCommandError && /FIB table does not exist|not supported/.test(error.stderr)) {
      return [];
    }
    throw error;
  }
}

/** The route that a packet to `address` would take; undefined if there is none. */
export async function routeTo(address: string, where: InNetns = {}): Promise<Route | undefined> {
  try {
    return (await showJson(route, ['route', 'get', address], where))[0];
  } catch (error) {
    if (error instanceof HostCommandError && error.exitCode !== null && isUnroutable(error)) return undefined;
    throw error;
  }
}

/**
 * Carries the commands out in order, in one `ip`; each is the argument vector that would follow `ip`. Stops
 * at the first that fails and throws a HostCommandError that names it; those before it stay done.
 */
export async function ipBatch(commands: readonly (readonly string[])[], where: InNetns = {}): Promise<void> {
  if (commands.length === 0) return;
  for (const word of commands.flat()) {
    // A batch line is split at white space, with quotes and comments: no argument of ours has any.
    if (!/^[^\s"'#\\]+$/.test(word)) {
      throw new WarrenError('HOST_ARGUMENT_INVALID', `"${word}" cannot stand in an ip command`);
    }
  }
  const stdin = commands.map((words) => `${words.join(' ')}\n`).join('');
  try {
    await runCommand(['ip', '-batch', '-'], { ...where, stdin });
  } catch (error) {
    if (!(error instanceof HostCommandError)) throw error;
    const line = Number(/Command failed -:(\d+)/.exec(error.stderr)?.[1]);
    const failed = commands[line - 1];
    if (failed === undefined) throw error;
    const problem = error.message.slice(error.message.indexOf('failed: ') + 'failed: '.length);
    const place = where.netns === undefined ? '' : ` in ${where.netns}`;
    throw new HostCommandError(
      `ip ${failed.join(' ')}`,
      error.exitCode,
      error.stderr,
      problem + place,
      error,
    );
  }
}

/** True if `error` says that the interface or namespace does not exist. */
export function isMissing(error: unknown): boolean {
  return error instanceof HostCommandError && /does not exist|Cannot find device/.test(error.stderr);
}

function isUnroutable(error: HostCommandError): boolean {
  return /unreachable|No route to host|Invalid argument|prohibit|denied/i.test(error.stderr);
}

async function showJson<T>(schema: z.ZodType<T>, args: readonly string[], where: InNetns): Promise<T[]> {
  const argv = ['ip', '-json', ...args];
  return parseJson(schema, await runCommand(argv, where), argv);
}

/** The entries that `argv` printed as `text`. */
function parseJson<T>(schema: z.ZodType<T>, text: string, argv: readonly string[]): T[] {
  let value: unknown;
  try {
    value = text.trim() === '' ? [] : JSON.parse(text);
  } catch (error) {
    throw notUnderstood(argv, error);
  }
  // Some versions print an empty object for each entry that a selector left out.
  const entries = Array.isArray(value) ? value.filter((entry) => Object.keys(entry ?? {}).length > 0) : value;
  const parsed = z.array(schema).safeParse(entries);
  if (!parsed.success) throw notUnderstood(argv, parsed.error);
  return parsed.data;
}

function notUnderstood(argv: readonly string[], cause: unknown): WarrenError {
  return new WarrenError('HOST_ANSWER_UNKNOWN', `\`${argv.join(' ')}\` printed something unexpected`, {
    hint: 'warren needs iproute2 5.0 or later (`ip -V`); BusyBox has an `ip` of its own that will not do.',
    cause,
  });
}
