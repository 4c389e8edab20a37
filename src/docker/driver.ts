/**
 * What a Docker engine asks of its network and IPAM driver, in terms of attachments: libnetwork's remote drivers, plugin
 * protocol v1. Requests come in and answers go out as plain objects; sockets are elsewhere.
 *
 *     RequestPool -> CreateNetwork           a network is on all nodes: its pool is a whole pod range, or says nothing
 *     RequestAddress -> CreateEndpoint       the address is of this node's subnet; the interface pair is made
 *     Join                                   the engine moves the inner end into the container, and sets our routes
 *     Leave -> DeleteEndpoint -> ReleaseAddress
 *
 * Join names no gateway. So the engine gives the container its docker_gwbridge as the way out, as with its own overlay
 * networks: published ports, what `docker inspect` and `docker port` show of them and internal networks are the engine's.
 */
import { nodeAddress } from '../attachment/addresses.ts';
import type { Attachments } from '../attachment/attachments.ts';
import { hardwareAddress } from '../attachment/interface-name.ts';
import { WarrenError } from '../errors.ts';
import { addressBits, type Family, formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';
import {
  formatPrefix,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixCovers,
  samePrefix,
} from '../ip/prefix.ts';
import { NAME_OPTION, type NetworkFacts, newEndpoint, REACH_OPTION } from './describe.ts';
import {
  addressRequest,
  createEndpointRequest,
  createNetworkRequest,
  endpointRequest,
  innerInterfaceName,
  joinRequest,
  poolRequest,
  releaseAddressRequest,
} from './messages.ts';

/** The `client` of containers. */
export const DOCKER_CLIENT = 'docker';

const GATEWAY = 'com.docker.network.gateway';
const ADDRESS_TYPE = 'RequestAddressType';
/** Under which the engine passes on what the user wrote after `--opt`. */
const GENERIC = 'com.docker.network.generic';
/** What engines take as a network's name. */
const NETWORK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,199}$/;
/** It is one label of an inventory (WORKLOAD_LABELS.reach). */
const REACH = /^(?=.{1,200}$)(?:\*|[a-zA-Z0-9][a-zA-Z0-9_.-]*(?:,[a-zA-Z0-9][a-zA-Z0-9_.-]*)*)$/;
const MTU = 'com.docker.network.driver.mtu';
/** The node's end's address on each link (src/host/attachment/ends.ts). */
const IPV6_GATEWAY = 'fe80::1';
/** Kinds of routes in the answer to Join (libnetwork, types.NEXTHOP and types.CONNECTED). */
const NEXT_HOP = 0;
const CONNECTED = 1;

/**
 * The pool of a network that names no subnet. Of any other the engine wants that no route of the host overlaps it, and
 * asks again and again, without end, as the pod range is routed (libnetwork, requestPoolHelper; IPv4 alone is looked at).
 */
const ANY_IPV4 = '0.0.0.0/0';

/** What the engine knows of a network that it tells its driver nothing of. */
export interface NetworkNames {
  /** Never throws. */
  factsOf(networkId: string): Promise<NetworkFacts>;
  forget(networkId: string): void;
}

export interface DriverOptions {
  readonly attachments: Attachments;
  readonly names: NetworkNames;
  readonly podRanges: readonly Prefix[];
  /** Those that containers get addresses of. */
  readonly subnets: () => readonly Prefix[];
  /** Resolves when what is attached now reaches its own network alone. Throws why it does not. */
  readonly isolated: () => Promise<void>;
  /** Throws NO_SUBNET where there is none yet, perhaps after a moment in which there was to be one. */
  readonly refuseWithoutSubnet: () => void | Promise<void>;
}

type Answer = Readonly<Record<string, unknown>>;

export class DockerDriver {
  readonly #options: DriverOptions;
  readonly #attachments: Attachments;
  /** Container's namespace by endpoint, of those that joined in this run. Bounded by the attachments. */
  readonly #sandboxes = new Map<string, string>();
  readonly #methods: Readonly<Record<string, (body: unknown) => Answer | Promise<Answer>>> = {
    'Plugin.Activate': () => ({ Implements: ['NetworkDriver', 'IpamDriver'] }),
    'NetworkDriver.GetCapabilities': () => ({ Scope: 'local', ConnectivityScope: 'global' }),
    'NetworkDriver.CreateNetwork': (body) => this.#createNetwork(body),
    'NetworkDriver.DeleteNetwork': (body) => this.#deleteNetwork(body),
    'NetworkDriver.CreateEndpoint': (body) => this.#createEndpoint(body),
    'NetworkDriver.DeleteEndpoint': (body) => this.#deleteEndpoint(body),
    'NetworkDriver.EndpointOperInfo': () => ({ Value: {} }),
    'NetworkDriver.Join': (body) => this.#join(body),
    'NetworkDriver.Leave': (body) => this.#leave(body),
    'NetworkDriver.ProgramExternalConnectivity': () => ({}),
    'NetworkDriver.RevokeExternalConnectivity': () => ({}),
    'NetworkDriver.DiscoverNew': () => ({}),
    'NetworkDriver.DiscoverDelete': () => ({}),
    'IpamDriver.GetCapabilities': () => ({ RequiresMACAddress: false, RequiresRequestReplay: false }),
    'IpamDriver.GetDefaultAddressSpaces': () => ({
      LocalDefaultAddressSpace: 'warren',
      GlobalDefaultAddressSpace: 'warren',
    }),
    'IpamDriver.RequestPool': (body) => this.#requestPool(body),
    'IpamDriver.ReleasePool': () => ({}),
    'IpamDriver.RequestAddress': (body) => this.#requestAddress(body),
    'IpamDriver.ReleaseAddress': (body) => this.#releaseAddress(body),
  };

  constructor(options: DriverOptions) {
    this.#options = options;
    this.#attachments = options.attachments;
  }

  /** `method` is a path without its slash, such as `NetworkDriver.Join`. Throws NOT_FOUND, DOCKER_REQUEST and more. */
  async handle(method: string, body: unknown): Promise<Answer> {
    if (!Object.hasOwn(this.#methods, method)) throw new WarrenError('NOT_FOUND', `there is no ${method}`);
    return this.#methods[method]!(body);
  }

  #createNetwork(body: unknown): Answer {
    const { IPv4Data, IPv6Data, Options } = createNetworkRequest(body);
    checkOptions(Options);
    for (const { Pool } of [...IPv4Data, ...IPv6Data]) {
      if (Pool !== ANY_IPV4 && !this.#options.podRanges.some((range) => formatPrefix(range) === Pool)) {
        throw refused(
          `${Pool} is not a pod range of this cluster: create the network with --ipam-driver warren`,
        );
      }
    }
    return {};
  }

  #deleteNetwork(body: unknown): Answer {
    this.#options.names.forget(createNetworkRequest(body).NetworkID);
    return {};
  }

  async #createEndpoint(body: unknown): Promise<Answer> {
    const { NetworkID, EndpointID, Interface, Options } = createEndpointRequest(body);
    await this.#options.refuseWithoutSubnet();
    const asked = [Interface?.Address, Interface?.AddressIPv6].filter(
      (text) => text !== undefined && text !== '',
    );
    const mtu = Options[MTU];
    // An engine that asks once more means the one that there is, whatever that is called by now.
    const { name, network, labels } =
      this.#attachments.get(EndpointID) ??
      newEndpoint(EndpointID, NetworkID, await this.#options.names.factsOf(NetworkID));
    const attachment = await this.#attachments.add({
      id: EndpointID,
      client: DOCKER_CLIENT,
      ...{ name, network, labels },
      interfaceName: innerInterfaceName(EndpointID),
      mtu: mtu === undefined ? undefined : Number(mtu),
      addresses: asked.map((text) => parsed(text!)),
    });
    try {
      await this.#options.isolated();
    } catch (error) {
      await this.#attachments.delete(EndpointID);
      throw error;
    }
    const ipv6 = attachment.addresses.find(({ family }) => family === 6);
    return {
      Interface: {
        ...(!Interface?.MacAddress && { MacAddress: hardwareAddress(attachment.hostInterface, 'inner') }),
        // What the engine asked for must not be said again. It asks for IPv6 with `--ipv6` alone; pods have both.
        ...(ipv6 && !Interface?.AddressIPv6 && { AddressIPv6: withLength(ipv6) }),
      },
    };
  }

  async #deleteEndpoint(body: unknown): Promise<Answer> {
    const { EndpointID } = endpointRequest(body);
    this.#sandboxes.delete(EndpointID);
    await this.#attachments.delete(EndpointID);
    return {};
  }

  #join(body: unknown): Answer {
    const { EndpointID, SandboxKey } = joinRequest(body);
    const attachment = this.#attachments.get(EndpointID);
    if (attachment === undefined) throw refused(`there is no endpoint ${EndpointID}`);
    for (const [other, sandbox] of this.#sandboxes) {
      if (sandbox !== SandboxKey || other === EndpointID) continue;
      throw refused('the container is on a warren network already, and can be on one alone');
    }
    this.#sandboxes.set(EndpointID, SandboxKey);
    return {
      InterfaceName: { SrcName: attachment.interfaceName, DstPrefix: 'eth' },
      StaticRoutes: attachment.addresses.flatMap((address) => this.#routesFor(address)),
    };
  }

  #leave(body: unknown): Answer {
    this.#sandboxes.delete(endpointRequest(body).EndpointID);
    return {};
  }

  /** To the pod ranges alone: the default route is the engine's. */
  #routesFor(address: IpAddress): Answer[] {
    const gateway = address.family === 6 ? IPV6_GATEWAY : formatAddress(nodeAddress(this.#subnetOf(address)));
    const bits = addressBits(address.family);
    const ranges = this.#options.podRanges.filter(({ family }) => family === address.family);
    return [
      { Destination: `${gateway}/${bits}`, RouteType: CONNECTED },
      ...ranges.map((range) => ({
        Destination: formatPrefix(range),
        RouteType: NEXT_HOP,
        NextHop: gateway,
      })),
    ];
  }

  #subnetOf(address: IpAddress): Prefix {
    const found = this.#options.subnets().find((subnet) => prefixContains(subnet, address));
    if (found !== undefined) return found;
    throw refused(`${formatAddress(address)} is outside of the subnets that this node has by now`);
  }

  #requestPool(body: unknown): Answer {
    const { Pool, SubPool, V6 } = poolRequest(body);
    if (SubPool !== '')
      throw refused(
        '--ip-range is not supported: addresses come from the subnet that this node has a lease of',
      );
    const family = V6 ? 6 : 4;
    const range = Pool === '' ? this.#rangeOf(family) : this.#rangeLike(Pool);
    const subnet = this.#options.subnets().find((one) => prefixCovers(range, one));
    return {
      PoolID: formatPrefix(range),
      Pool: Pool === '' && !V6 ? ANY_IPV4 : formatPrefix(range),
      // Without it the engine asks for an address that nothing would be at.
      ...(subnet && { Data: { [GATEWAY]: `${formatAddress(nodeAddress(subnet))}/${range.length}` } }),
    };
  }

  #rangeOf(family: Family): Prefix {
    const found = this.#options.podRanges.find((range) => range.family === family);
    if (found !== undefined) return found;
    throw refused(`this cluster has no IPv${family} pod range`);
  }

  #rangeLike(text: string): Prefix {
    const wanted = orRefused(() => parsePrefix(text), `${text} is not a subnet`);
    const found = this.#options.podRanges.find((range) => samePrefix(range, wanted));
    if (found !== undefined) return found;
    const ranges = this.#options.podRanges.map(formatPrefix).join(' or ');
    throw refused(`--subnet ${text} is not a pod range of this cluster: leave it out, or give ${ranges}`);
  }

  async #requestAddress(body: unknown): Promise<Answer> {
    const { PoolID, Address, Options } = addressRequest(body);
    const range = this.#rangeLike(PoolID);
    await this.#options.refuseWithoutSubnet();
    const wanted = Address === '' ? undefined : parsed(Address);
    if (Options[ADDRESS_TYPE] === GATEWAY) {
      const subnet = this.#options.subnets().find((one) => prefixCovers(range, one));
      if (subnet === undefined) throw refused(`this node has no subnet of ${PoolID}`);
      // `--gateway` of the user: it is shown, and nothing else; containers get the node's address.
      return { Address: `${formatAddress(wanted ?? nodeAddress(subnet))}/${range.length}` };
    }
    return { Address: withLength(this.#attachments.hold(range.family, wanted)) };
  }

  #releaseAddress(body: unknown): Answer {
    this.#attachments.release(parsed(releaseAddressRequest(body).Address));
    return {};
  }
}

/** What the user wrote of a network, which is to be taken over as it is. */
function checkOptions({ [GENERIC]: generic }: Readonly<Record<string, unknown>>): void {
  const all = typeof generic === 'object' && generic !== null ? Object.entries(generic) : [];
  for (const [key, value] of all) {
    if (key === REACH_OPTION && !REACH.test(String(value)))
      throw refused(`${REACH_OPTION} must name networks with commas between, or be *`);
    if (key === NAME_OPTION && !NETWORK_NAME.test(String(value)))
      throw refused(`${NAME_OPTION} must be a name of letters, digits, dots, underscores and hyphens`);
  }
}

/** With or without a prefix length. */
function parsed(text: string): IpAddress {
  return orRefused(() => parseAddress(text.replace(/\/\d+$/, '')), `${text} is not an address`);
}

function withLength(address: IpAddress): string {
  return `${formatAddress(address)}/${addressBits(address.family)}`;
}

function orRefused<T>(work: () => T, message: string): T {
  try {
    return work();
  } catch {
    throw refused(message);
  }
}

function refused(message: string): WarrenError {
  return new WarrenError('DOCKER_REQUEST', message);
}
