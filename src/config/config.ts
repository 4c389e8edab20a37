/**
 * The whole configuration as one typed, frozen value. `load.ts` makes it from YAML; nothing reads the file
 * again, and nothing looks a key up by a string.
 */
import type { IpAddress } from '../ip/address.ts';
import type { Endpoint, HostPort } from '../ip/endpoint.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { LogFormat, LogLevel } from '../log/logger.ts';

export interface Config {
  readonly node: {
    /** 1 to 63 characters, a host name's; default: the host's name. */
    readonly name: string;
    /** Identity, lease and pods are kept here; default /var/lib/warren. */
    readonly stateDir: string;
    /** The control socket; default /run/warren/agent.sock. */
    readonly socket: string;
  };
  readonly cluster: {
    /** Clusters of different names never mix, even under one key; default `warren`. */
    readonly name: string;
    /** The ranges that node subnets are taken from: at most one of each family. */
    readonly podCidrs: readonly PodRange[];
    /** Nodes to join through; empty on the first node. */
    readonly seeds: readonly HostPort[];
    /** File that holds the cluster key (`warren key generate`); absent: gossip is not sealed. */
    readonly keyFile: string | undefined;
    /**
     * Who takes part in forwarding (src/admission): all who have the cluster key and are not revoked, or only those that
     * are approved; default open.
     */
    readonly admission: 'open' | 'allowlist';
    /** Ids of the nodes whose approvals and revocations count here; default none. */
    readonly approvers: readonly string[];
    /**
     * How fast nodes are probed and missed, and news is told (src/membership/timing.ts): in one data centre,
     * between several, or on one machine; default lan.
     */
    readonly timing: 'lan' | 'wan' | 'local';
    /** How long the lease of a node that is dead or has left is kept for it; default 24 h. */
    readonly leaseTtlSeconds: number;
  };
  readonly underlay: {
    /** `auto`: the source address of the route to the first seed, else of the default route. */
    readonly address: IpAddress | 'auto';
    /** UDP and TCP; default 7946. */
    readonly gossipPort: number;
    /** Gossip from other addresses is dropped unseen; undefined: it is taken from everywhere. */
    readonly allowFrom?: readonly Prefix[] | undefined;
  };
  readonly encapsulation: {
    /** Default: wireguard where there is a cluster key, else vxlan-gpe, which is clear text. */
    readonly type: 'wireguard' | 'vxlan-gpe';
    /** Of wireguard: clear text is sent to and taken from nodes that have no keys yet. */
    readonly accept?: 'vxlan-gpe' | undefined;
    /** UDP; default 51820, of vxlan-gpe 4790 (IANA). */
    readonly port: number;
    /**
     * Of wireguard: sessions with agents are made by post-quantum keys too (src/post-quantum): with those that can, never, or
     * with those alone; default on.
     */
    readonly postQuantum?: 'on' | 'off' | 'require' | undefined;
    /** Of vxlan-gpe: 0 to 2^24-1; default 42. */
    readonly vni: number;
    /** Of the outer header: 0 to 63, or the inner packet's; default 0. */
    readonly dscp?: number | 'copy' | undefined;
  };
  readonly egress: {
    /** Whether pods leave the overlay under their node's address; default false. */
    readonly masquerade: boolean;
    /** Where pods are seen under their own address all the same: it must have a route back. */
    readonly except: readonly Prefix[];
  };
  readonly kubernetes: {
    /** Whether the API of a Kubernetes cluster is asked for its nodes (src/kubernetes); default false. */
    readonly enabled: boolean;
    /** Whether this node leases its subnet, or has the podCIDRs of its Node; default warren. */
    readonly ipam: 'warren' | 'kubernetes';
    /** Whether the cluster's NetworkPolicy objects are enforced for this node's pods; default true. */
    readonly networkPolicies: boolean;
    /** Of this node's Node; undefined where it is in no cluster. */
    readonly nodeName: string | undefined;
    /** How the API is reached; undefined: as pods do. */
    readonly kubeconfig: string | undefined;
  };
  readonly dns: {
    /** Whether names are answered on this node's overlay addresses; default true. */
    readonly enabled: boolean;
    /** Who is asked about names that are not the overlay's; undefined: this host's resolvers. */
    readonly resolvers?: readonly IpAddress[] | undefined;
  };
  readonly tun: {
    /** 1 to 15 characters; default warren0. */
    readonly name: string;
    /** Bytes of an inner packet, 1280 to 65535; auto: the underlay's MTU less the encapsulation. */
    readonly mtu: number | 'auto';
  };
  readonly datapath: {
    /** Packet path threads, each with its own TUN queue and socket; auto: one for each four CPU cores, 1 to 4. */
    readonly workers: number | 'auto';
    readonly offload: OffloadSwitches;
  };
  /** Peers that do not gossip, such as a kernel VXLAN-GPE device. */
  readonly staticPeers: readonly StaticPeer[];
  /** Pods that the agent makes at start, by name. */
  readonly staticPods: readonly string[];
  readonly api: {
    /** The group that may open the control socket, as powerful as root there; absent: root alone. */
    readonly socketGroup: string | undefined;
    /** A second socket, on which the agent can be asked but not told anything; absent: none. */
    readonly readOnlySocket: string | undefined;
    /** The group that may open that one; absent: root alone. */
    readonly readOnlyGroup: string | undefined;
    /** Whether other nodes of the cluster may capture this node's packets; default false. */
    readonly remoteCapture: boolean;
    /**
     * TCP address of the web page, metrics and health; auto: the loopback address, as far as it can be had, and without
     * metrics, which name nodes to whoever is on the host; undefined: none.
     */
    readonly listen: HostPort | 'auto' | undefined;
    /** Certificate and key of that address, PEM files. */
    readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
    /** What shows the web page with names, and elsewhere than on the loopback address at all. */
    readonly tokenFile: string | undefined;
  };
  readonly log: { readonly level: LogLevel; readonly format: LogFormat };
}

/** What the packet path may use if the kernel has it; `offload: auto` is all of them, `off` none. */
export interface OffloadSwitches {
  /** The TUN hands over TCP superpackets (TSO). */
  readonly tso: boolean;
  /** The TUN hands over UDP superpackets (USO, Linux 6.2). */
  readonly uso: boolean;
  /** Datagrams of one size to one peer leave as one UDP_SEGMENT send (Linux 4.18). */
  readonly udpSegment: boolean;
  /** Datagrams of one sender arrive as one (UDP_GRO, Linux 5.0). */
  readonly udpGro: boolean;
  /** Inbound segments of a TCP flow are written to the TUN as one superpacket. */
  readonly coalesceTcp: boolean;
  /** The same for UDP (Linux 6.2). */
  readonly coalesceUdp: boolean;
  /** Transport checksums stay partial towards peers that take them so. */
  readonly checksum: boolean;
}

export interface PodRange {
  readonly range: Prefix;
  /** Prefix length of one node's subnet in `range`. */
  readonly nodePrefixLength: number;
}

export interface StaticPeer {
  readonly name: string;
  /** Undefined: it comes from anywhere, which takes a key. */
  readonly endpoint: Endpoint | undefined;
  readonly subnets: readonly Prefix[];
  /** X25519, 32 bytes: of wireguard, and of nothing else. */
  readonly publicKey?: Uint8Array | undefined;
  /** 32 bytes that both have. */
  readonly presharedKey?: Uint8Array | undefined;
  /** Seconds between signs of life, which keep a way through NAT open; absent: none. */
  readonly persistentKeepaliveSeconds?: number | undefined;
}
