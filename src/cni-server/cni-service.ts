/**
 * The agent's side of the CNI plugin: its requests in terms of attachments. Nothing is kept here; what is attached is
 * remembered by attachments, and each command may come again and again.
 */

import { nodeAddress, podCapacity } from '../attachment/addresses.ts';
import { type Attachment, MAX_ATTACHMENTS } from '../attachment/attachment.ts';
import type { AttachmentChange } from '../attachment/attachment-maker.ts';
import type { Attachments } from '../attachment/attachments.ts';
import { hardwareAddress } from '../attachment/interface-name.ts';
import type { Clock, Timer } from '../clock.ts';
import { attachmentId, isContainerId, isInterfaceName, isNetworkName } from '../cni/attachment-key.ts';
import type {
  AddRequest,
  Attached,
  AttachmentKey,
  CheckAnswer,
  CniCommands,
  CniStatus,
  DeleteRequest,
  GcAnswer,
  GcRequest,
  InstalledPlugin,
  UndoRequest,
} from '../cni/messages.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { addressBits, formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';
import { type Prefix, prefixContains } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import type { Conflists } from './conflists.ts';
import { DeleteSpool } from './delete-spool.ts';
import { LateRequests } from './late-requests.ts';
import { Orphans } from './orphans.ts';

/** The `client` of containers. */
export const CNI_CLIENT = 'cni';
/** Between looks at what was left behind. */
const LOOK_EVERY_MS = 10_000;
/** The node's end's address on each link (src/host/attachment/ends.ts). */
const IPV6_GATEWAY = 'fe80::1';

export interface CniServiceOptions {
  readonly attachments: Attachments;
  readonly conflists: Conflists;
  readonly clock: Clock;
  readonly log: Logger;
  /** The folder of deletions that the plugin leaves. */
  readonly queue: string;
  /** Those that containers get addresses of. */
  readonly subnets: () => readonly Prefix[];
  /** Throws NO_SUBNET where there is none yet. */
  readonly refuseWithoutSubnet: () => void;
  /** Whether packets flow. */
  readonly isForwarding: () => boolean;
  /** Who answers names to containers of a network, and what they search; undefined: nobody here. */
  readonly names?: (network: string) => Attached['dns'];
}

export class CniService implements CniCommands {
  readonly #options: CniServiceOptions;
  readonly #attachments: Attachments;
  readonly #spool: DeleteSpool;
  readonly #orphans: Orphans;
  readonly #late: LateRequests;
  readonly #onChange = ({ id, kind }: AttachmentChange) => {
    if (kind === 'removed') this.#late.forget(id);
  };
  #timer: Timer | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: CniServiceOptions) {
    const { attachments, queue, log } = options;
    this.#options = options;
    this.#attachments = attachments;
    const remove = (id: string) => attachments.delete(id);
    this.#spool = new DeleteSpool({ folder: queue, remove, log });
    this.#orphans = new Orphans({
      list: () => attachments.list().filter(({ client }) => client === CNI_CLIENT),
      check: (id) => attachments.check(id),
      remove,
    });
    const isAttached = (id: string) => {
      const status = attachments.get(id)?.status;
      return status !== undefined && status !== 'pending';
    };
    this.#late = new LateRequests({ isAttached, remove, log });
    attachments.on('change', this.#onChange);
  }

  /** To be called when the control socket is bound: what the plugin leaves later finds an agent that answers. */
  start(): void {
    this.#looking = this.#look();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#attachments.off('change', this.#onChange);
    await this.#looking;
  }

  async add(request: AddRequest, gone?: AbortSignal): Promise<Attached> {
    const { caller, netns, name, labels, addresses, mtu, queue, ...key } = request;
    checkKey(key);
    if (queue !== this.#options.queue) {
      throw new WarrenError('CNI_QUEUE', `queue is ${queue}, and this agent's is ${this.#options.queue}`, {
        hint: `Put "queue": "${this.#options.queue}" into the network configuration, beside "socket".`,
      });
    }
    this.#options.refuseWithoutSubnet();
    this.#spool.open();
    const id = attachmentId(key);
    await this.#spool.settle(key);
    await this.#removeFormer(id);
    const claim = this.#late.admit(id, caller);
    try {
      const attachment = await this.#attachments.add({
        id,
        client: CNI_CLIENT,
        name: name ?? key.containerId,
        network: key.network,
        labels,
        netns,
        interfaceName: key.interfaceName,
        mtu,
        addresses: addresses?.map(parsed),
      });
      this.#late.answer(claim, gone);
      return this.#describe(attachment);
    } catch (error) {
      this.#late.withdraw(claim);
      throw error;
    }
  }

  async delete({ caller, ...key }: DeleteRequest): Promise<void> {
    const id = attachmentId(checkKey(key));
    if (!this.#late.admitDeletion(id, caller)) return;
    await this.#attachments.delete(id);
    this.#spool.forget(key);
  }

  async undo({ caller, ...key }: UndoRequest): Promise<void> {
    const claim = this.#late.claimOf(attachmentId(checkKey(key)), caller);
    if (claim !== undefined) await this.#late.undo(claim);
  }

  async check(key: AttachmentKey): Promise<CheckAnswer> {
    const id = attachmentId(checkKey(key));
    if (this.#attachments.get(id) === undefined) return { problems: [] };
    const problems = (await this.#attachments.check(id)).map(({ message }) => message);
    if (!this.#options.isForwarding()) problems.push('the overlay is not up: no other node can be reached');
    const found = this.#attachments.get(id);
    return { problems, ...(found && { attached: this.#describe(found) }) };
  }

  async gc({ caller, network, keep }: GcRequest): Promise<GcAnswer> {
    const ids = [...keep.map((one) => attachmentId({ ...one, network })), ...this.#late.idsAfter(caller)];
    const { done, failed } = await this.#attachments.gc({ client: CNI_CLIENT, network }, ids);
    return { removed: done.length, failed: failed.map(({ id, error }) => `${id}: ${errorMessage(error)}`) };
  }

  status(): CniStatus {
    const isLimited = !this.#options.isForwarding();
    const reason = this.#reasonAgainst(isLimited);
    return { isReady: reason === undefined, isLimited, ...(reason !== undefined && { reason }) };
  }

  install(plugin: InstalledPlugin): { readonly isWritten: boolean } {
    this.#options.conflists.install(plugin);
    const isWritten = this.#options.isForwarding();
    if (isWritten) this.#options.conflists.write();
    return { isWritten };
  }

  uninstall(conflist: string): void {
    this.#options.conflists.uninstall(conflist);
  }

  /** To be called when the overlay is up. */
  overlayIsUp(): void {
    try {
      this.#options.conflists.write();
    } catch (error) {
      this.#options.log.error({ err: error }, 'runtimes cannot be told of the CNI plugin');
    }
  }

  /** A container of before that had the same id and was never deleted, as `ctr run -d` leaves it. */
  async #removeFormer(id: string): Promise<void> {
    if (this.#attachments.get(id)?.status !== 'missing') return;
    const problems = await this.#attachments.check(id);
    if (problems.some(({ code }) => code === 'namespace')) await this.#attachments.delete(id);
  }

  /** Works off what was left; then again after a while, for as long as it runs. */
  async #look(): Promise<void> {
    const { clock, log } = this.#options;
    try {
      await this.#spool.workOff();
      const removed = await this.#orphans.look();
      if (removed.length > 0)
        log.info({ ids: removed }, 'containers are gone, and their attachments with them');
    } catch (error) {
      if (!this.#isStopped) log.error({ err: error }, 'what containers left behind could not be removed');
    }
    if (!this.#isStopped) this.#timer = clock.after(LOOK_EVERY_MS, () => (this.#looking = this.#look()));
  }

  #reasonAgainst(isLimited: boolean): string | undefined {
    const { size } = this.#attachments;
    if (isLimited) return 'the overlay is not up';
    try {
      this.#options.refuseWithoutSubnet();
    } catch (error) {
      return errorMessage(error);
    }
    if (size >= MAX_ATTACHMENTS) return `this node has ${size} attachments, which is the most it can have`;
    const isFull = this.#options.subnets().some((subnet) => podCapacity(subnet) <= BigInt(size));
    return isFull ? 'the subnet of this node has no free address' : undefined;
  }

  #describe({ hostInterface, mtu, addresses, network }: Attachment): Attached {
    const dns = this.#options.names?.(network);
    return {
      ...(dns && { dns }),
      hostInterface,
      hostMac: hardwareAddress(hostInterface, 'host'),
      mac: hardwareAddress(hostInterface, 'inner'),
      mtu,
      addresses: addresses.map((address) => ({
        address: `${formatAddress(address)}/${addressBits(address.family)}`,
        gateway: this.#gatewayOf(address),
      })),
    };
  }

  #gatewayOf(address: IpAddress): string {
    if (address.family === 6) return IPV6_GATEWAY;
    const subnet = this.#options.subnets().find((one) => prefixContains(one, address));
    return subnet === undefined ? '' : formatAddress(nodeAddress(subnet));
  }
}

function checkKey<T extends AttachmentKey>(key: T): T {
  const { network, containerId, interfaceName } = key;
  if (isNetworkName(network) && isContainerId(containerId) && isInterfaceName(interfaceName)) return key;
  throw new WarrenError('BAD_REQUEST', 'the network, container id or interface name is not as it must be');
}

function parsed(text: string): IpAddress {
  return parseAddress(text);
}
