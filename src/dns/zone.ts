/**
 * What this node answers itself, out of a name and who asks:
 *
 *     NAME.NODE.warren            that attachment on that node
 *     NODE.warren                 the node's own addresses
 *     SERVICE.NETWORK.warren      all healthy attachments of that name, service or alias in a network, on all nodes
 *     SERVICE.warren              the same for what is in no network
 *     SERVICE                     the same in the network of whoever asks
 *     _PORT._tcp.SERVICE...       SRV: where those have that port
 *     ....in-addr.arpa, ip6.arpa  names of addresses in the pod ranges
 *
 * A node's attachment comes before a network's service of the same name. Pure: what is known is a parameter.
 */
import type { IpAddress } from '../ip/address.ts';
import type { Prefix } from '../ip/prefix.ts';
import { ASKED, type LocalAnswer, type Rr } from './answer.ts';
import { NEGATIVE_TTL_SECONDS, RCODE, TTL_SECONDS, TYPE, ZONE } from './constants.ts';
import type { Port } from './entry-names.ts';
import type { Instance, NameSource } from './name-source.ts';
import { reverseName } from './reverse.ts';

export interface ZoneOptions {
  readonly names: NameSource;
  /** Whose addresses have names here. */
  readonly ranges: () => readonly Prefix[];
  /** This node's name, in lower case. */
  readonly node: string;
  /** 0 to 1. */
  readonly random: () => number;
}

export interface Asked {
  /** Lower case. */
  readonly name: string;
  readonly type: number;
  /** Who asks. */
  readonly from: IpAddress;
  /** Bytes that the answer may have. */
  readonly limit: number;
}

/** Of one answer. */
const MAX_INSTANCES = 4096;
/** Of the shortest record, an A of the asked name. */
const RECORD_BYTES = 16;
/** Of the shortest SRV: a name and 18 bytes. */
const SERVICE_BYTES = 30;
const SERVICE_PORT = /^_([a-z0-9-]{1,15})\._(tcp|udp|sctp)\.(.+)$/;

/** Undefined: the name is not of the overlay. */
export function answerLocally(asked: Asked, options: ZoneOptions): LocalAnswer | undefined {
  const { names } = options;
  const { name } = asked;
  if (name === ZONE) return apex(asked, options);
  if (name.endsWith(`.${ZONE}`)) return inZone(asked, name.slice(0, -ZONE.length - 1), options);
  if (name.endsWith('.arpa')) return reverse(asked, options);
  if (name === '' || name.includes('.')) return undefined;
  const asker = names.at(asked.from);
  if (!asker || !('network' in asker)) return undefined;
  const all = names.inNetwork(name, asker.network);
  // No node outside knows such a name, and neither does anybody else: it is not passed on.
  if (all.length === 0)
    return isAddressType(asked.type) ? { rcode: RCODE.nameError, answers: [] } : undefined;
  return answerOf(asked, healthy(all), options, name);
}

function inZone(asked: Asked, relative: string, options: ZoneOptions): LocalAnswer {
  const { names } = options;
  const [, port, protocol, rest] = SERVICE_PORT.exec(relative) ?? [];
  const found = instancesOf(rest ?? relative, asked.from, names);
  if (rest !== undefined && found) {
    const wanted = (one: Port) =>
      one.name === port || (String(one.port) === port && one.protocol === protocol);
    const matching = found.flatMap((one) => {
      const ports = one.ports.filter((its) => its.protocol === protocol && wanted(its));
      return ports.length > 0 ? [{ name: one.name, node: one.node, addresses: one.addresses, ports }] : [];
    });
    if (matching.length > 0) return services(asked, matching, options, ZONE);
    return negative(RCODE.nameError, ZONE, options);
  }
  if (found) return answerOf(asked, found, options, ZONE);
  const addresses = names.node(relative);
  if (addresses) return addressAnswer(asked, addresses, options, ZONE);
  // Something is below it.
  if (names.hasNetwork(relative)) return negative(RCODE.noError, ZONE, options);
  return negative(RCODE.nameError, ZONE, options);
}

/** Undefined: there is no such name. Without anything healthy it is a name without addresses. */
function instancesOf(relative: string, from: IpAddress, names: NameSource): Instance[] | undefined {
  const splits: (readonly [head: string, tail: string])[] = [];
  for (let at = relative.indexOf('.'); at >= 0; at = relative.indexOf('.', at + 1)) {
    splits.push([relative.slice(0, at), relative.slice(at + 1)]);
  }
  for (const [head, tail] of splits) {
    const all = names.onNode(head, tail);
    if (all.length > 0) return nearest(all, from, names);
  }
  if (names.node(relative)) return undefined;
  for (const [head, tail] of splits) {
    const all = names.inNetwork(head, tail);
    if (all.length > 0) return healthy(all);
  }
  const all = names.inNetwork(relative, '');
  return all.length > 0 ? healthy(all) : undefined;
}

/** What is in several networks is reached by the one that whoever asks is in, too. */
function nearest(all: Instance[], from: IpAddress, names: NameSource): Instance[] {
  const asker = all.length > 1 ? names.at(from) : undefined;
  if (!asker || !('network' in asker)) return all;
  const near = all.filter(({ network }) => network === asker.network);
  return near.length > 0 ? near : all;
}

function healthy(all: readonly Instance[]): Instance[] {
  return all.filter(({ isHealthy }) => isHealthy);
}

function answerOf(asked: Asked, found: readonly Instance[], options: ZoneOptions, zone: string): LocalAnswer {
  if (asked.type === TYPE.SRV) return services(asked, found, options, zone);
  return addressAnswer(asked, addressesOf(shuffled(found, options.random)), options, zone);
}

function* addressesOf(found: readonly Instance[]): Iterable<IpAddress> {
  for (const one of found) yield* one.addresses;
}

function addressAnswer(
  { type, limit }: Asked,
  addresses: Iterable<IpAddress>,
  options: ZoneOptions,
  zone: string,
): LocalAnswer {
  const answers: Rr[] = [];
  // One more than have room, so that whoever asks hears that there are more.
  const most = Math.min(MAX_INSTANCES, Math.ceil(limit / RECORD_BYTES));
  for (const address of addresses) {
    if (answers.length >= most) break;
    const isWanted = type === TYPE.ANY || type === (address.family === 4 ? TYPE.A : TYPE.AAAA);
    if (isWanted) answers.push(addressRecord(ASKED, address));
  }
  if (answers.length === 0) return negative(RCODE.noError, zone, options);
  return { rcode: RCODE.noError, answers };
}

type Service = Pick<Instance, 'name' | 'node' | 'addresses' | 'ports'>;

/** Where they have which ports, and their addresses beside that. */
function services(
  { type, limit }: Asked,
  found: readonly Service[],
  options: ZoneOptions,
  zone: string,
): LocalAnswer {
  const named = shuffled(found, options.random).filter(
    (one) => one.name !== undefined && one.ports.length > 0,
  );
  if (named.length === 0 || (type !== TYPE.SRV && type !== TYPE.ANY)) {
    return negative(RCODE.noError, zone, options);
  }
  const answers: Rr[] = [];
  const additionals: Rr[] = [];
  for (const one of named) {
    if (answers.length * SERVICE_BYTES > limit) break;
    const target = fullName(one)!;
    for (const { port } of one.ports) {
      answers.push({
        ...{ type: 'SRV', name: ASKED, ttl: TTL_SECONDS },
        data: { priority: 0, weight: 0, port, target },
      });
    }
    additionals.push(...one.addresses.map((address) => addressRecord(target, address)));
  }
  return { rcode: RCODE.noError, answers, additionals };
}

function apex({ type }: Asked, options: ZoneOptions): LocalAnswer {
  const isAny = type === TYPE.ANY;
  const answers: Rr[] = [];
  if (isAny || type === TYPE.SOA) answers.push(soa(ASKED, options, TTL_SECONDS));
  if (isAny || type === TYPE.NS) {
    answers.push({ type: 'NS', name: ASKED, ttl: TTL_SECONDS, data: serverName(options) });
  }
  if (answers.length === 0) return negative(RCODE.noError, ZONE, options);
  const own = options.names.node(options.node) ?? [];
  return {
    ...{ rcode: RCODE.noError, answers },
    additionals: own.map((address) => addressRecord(serverName(options), address)),
  };
}

function reverse({ name, type }: Asked, options: ZoneOptions): LocalAnswer | undefined {
  const found = reverseName(name, options.ranges());
  if (!found) return undefined;
  if (found.address === undefined) {
    return negative(found.isRange ? RCODE.noError : RCODE.nameError, found.zone, options);
  }
  const who = options.names.at(found.address);
  const target = who && ('network' in who ? fullName(who) : `${who.node}.${ZONE}`);
  if (target === undefined) return negative(RCODE.nameError, found.zone, options);
  if (type !== TYPE.PTR && type !== TYPE.ANY) return negative(RCODE.noError, found.zone, options);
  return {
    rcode: RCODE.noError,
    answers: [{ type: 'PTR', name: ASKED, ttl: TTL_SECONDS, data: target }],
  };
}

function negative(rcode: number, zone: string, options: ZoneOptions): LocalAnswer {
  return { rcode, answers: [], authorities: [soa(zone, options, NEGATIVE_TTL_SECONDS)] };
}

/** No zone is handed on to others, so the serial number means nothing. */
function soa(owner: string, options: ZoneOptions, ttl: number): Rr {
  return {
    ...{ type: 'SOA', name: owner, ttl },
    data: {
      mname: serverName(options),
      rname: `hostmaster.${ZONE}`,
      serial: 1,
      refresh: 3600,
      retry: 600,
      expire: 86_400,
      minimum: NEGATIVE_TTL_SECONDS,
    },
  };
}

function serverName({ node }: ZoneOptions): string {
  return `${node}.${ZONE}`;
}

function fullName({ name, node }: Pick<Instance, 'name' | 'node'>): string | undefined {
  return name === undefined ? undefined : `${name}.${node}.${ZONE}`;
}

function addressRecord(name: string, address: IpAddress): Rr {
  return { type: 'address', name, ttl: TTL_SECONDS, address };
}

function isAddressType(type: number): boolean {
  return type === TYPE.A || type === TYPE.AAAA || type === TYPE.ANY;
}

/** A copy in random order (Fisher and Yates). */
function shuffled<T>(all: readonly T[], random: () => number): T[] {
  const copy = [...all];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}
