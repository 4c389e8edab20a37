/** What the plugin asks the agent on its control socket, under /v1/cni, and what it is answered. */

/** Which attachment: the specification's key, and the network, for two runtimes may use one container's id. */
export interface AttachmentKey {
  readonly network: string;
  readonly containerId: string;
  readonly interfaceName: string;
}

/** A process of the plugin (src/cni/caller.ts). */
export interface Caller {
  readonly pid: number;
  /** When a runtime started it: hundredths of a second since the boot. */
  readonly startedAt: number;
}

export interface AddRequest extends AttachmentKey {
  readonly caller?: Caller | undefined;
  readonly netns: string;
  /** What people call it; absent: the container's id. */
  readonly name?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly addresses?: readonly string[] | undefined;
  /** Bytes of an inner packet; absent: as many as the overlay carries. */
  readonly mtu?: number | undefined;
  /** The folder in which the plugin leaves deletions while the agent is away. */
  readonly queue: string;
}

export interface DeleteRequest extends AttachmentKey {
  readonly caller?: Caller | undefined;
}

/** The runtime did not take the answer of an ADD. */
export interface UndoRequest extends AttachmentKey {
  /** The one of that ADD. */
  readonly caller: Caller;
}

export interface Attached {
  readonly hostInterface: string;
  /** Hardware addresses of both ends. */
  readonly hostMac: string;
  readonly mac: string;
  readonly mtu: number;
  readonly addresses: readonly {
    /** In CIDR notation. */
    readonly address: string;
    readonly gateway: string;
  }[];
  /** Who answers names, and what to search; absent: nobody here. */
  readonly dns?: { readonly nameservers: readonly string[]; readonly search: readonly string[] };
}

export interface CheckAnswer {
  /** Absent: there is no such attachment. */
  readonly attached?: Attached | undefined;
  /** What is wrong, one sentence each. */
  readonly problems: readonly string[];
}

export interface GcRequest {
  readonly caller?: Caller | undefined;
  readonly network: string;
  /** Those that are still valid. */
  readonly keep: readonly Omit<AttachmentKey, 'network'>[];
}

export interface GcAnswer {
  readonly removed: number;
  /** Why others could not be removed, one sentence each. */
  readonly failed: readonly string[];
}

export interface CniStatus {
  /** An ADD can be served. */
  readonly isReady: boolean;
  /** Why not. */
  readonly reason?: string | undefined;
  /** Nor may the containers that are there reach those of other nodes. */
  readonly isLimited: boolean;
}

/** Where `warren cni install` has put the plugin. */
export interface InstalledPlugin {
  /** Path of the network configuration that is to be there. */
  readonly conflist: string;
  /** Path of the plugin that it names; without it, it is not to be there. */
  readonly plugin: string;
  /** Port mappings by the reference plugin `portmap`, which is there too. */
  readonly portmap: boolean;
}

/** What the control socket asks of the agent for the plugin. */
export interface CniCommands {
  /** `gone` fires when nobody waits for the answer any more: then nothing stays attached by it. */
  add(request: AddRequest, gone?: AbortSignal): Promise<Attached>;
  delete(request: DeleteRequest): Promise<void>;
  undo(request: UndoRequest): Promise<void>;
  check(key: AttachmentKey): Promise<CheckAnswer>;
  gc(request: GcRequest): Promise<GcAnswer>;
  status(): CniStatus;
  /** The network configuration is there when this returns, or as soon as the overlay is up: false then. */
  install(plugin: InstalledPlugin): { readonly isWritten: boolean };
  uninstall(conflist: string): void;
}
