/**
 * Named pods: attachments in network namespaces of their own, or in one that is given, and those that the configuration
 * lists. What is remembered of a pod is its attachment, whose id is the pod's name; nothing is kept here.
 */

import { type Attachment, MAX_ATTACHMENTS } from '../attachment/attachment.ts';
import { POD_CLIENT } from '../attachment/attachment-store.ts';
import type { Attachments } from '../attachment/attachments.ts';
import { KeyedQueue } from '../attachment/keyed-queue.ts';
import { WarrenError } from '../errors.ts';
import { namedNetnsPath } from '../host/netns.ts';
import { formatAddress } from '../ip/address.ts';
import type { Logger } from '../log/logger.ts';
import { POD_NAME, POD_NAME_RULE } from '../names.ts';
import type { PodReport } from '../readmodel/reports.ts';

/** Operations that wait for others on the same name. */
const MAX_WAITING = 1024;

export interface PodManagerOptions {
  readonly nodeName: string;
  readonly attachments: Attachments;
  /** Names of the pods that are always there. */
  readonly staticPods: readonly string[];
  readonly log: Logger;
}

export interface PodOptions {
  /** Path of a namespace that exists; default: the pod gets its own. */
  readonly netns?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export class PodManager {
  readonly #options: PodManagerOptions;
  #staticPods: readonly string[];
  readonly #attachments: Attachments;
  /** By pod name: whether a pod exists is asked and answered in one turn. */
  readonly #queue = new KeyedQueue({ maxWaiting: MAX_WAITING });

  constructor(options: PodManagerOptions) {
    this.#options = options;
    this.#attachments = options.attachments;
    this.#staticPods = options.staticPods;
  }

  list(): PodReport[] {
    return this.#pods().map(reportOf);
  }

  /**
   * Makes every remembered attachment whole again, pods or not, and every static pod exist; one that is static no longer
   * goes. A pod that fails is logged and reported as `missing`; its addresses stay its own.
   */
  async restore(): Promise<void> {
    const { log } = this.#options;
    const staticPods = this.#staticPods;
    await Promise.all(this.#pods().map((pod) => this.#applyStatic(pod)));
    await this.#attachments.restore();
    // One after the other: which addresses they get does not depend on how fast each is made.
    for (const name of staticPods) {
      try {
        await this.#inTurn(name, async () => {
          if (this.#find(name) === undefined) await this.#create(name, {}, true);
        });
      } catch (error) {
        log.error({ pod: name, err: error, hint: hintOf(error) }, 'static pod could not be made');
      }
    }
  }

  /** For a configuration that was read again: pods that are listed now are made, those that no longer are go. */
  async setStatic(names: readonly string[]): Promise<void> {
    this.#staticPods = names;
    await this.restore();
  }

  /**
   * Makes a pod in a namespace of its own, or in the one at the path `netns`. If it fails, nothing is left.
   * Throws POD_NAME_INVALID, POD_EXISTS, POD_SUBNET_EXHAUSTED, POD_NETNS_* or what the host's tools say.
   */
  async add(name: string, options: PodOptions = {}): Promise<PodReport> {
    return this.#inTurn(name, async () => reportOf(await this.#create(name, options, false)));
  }

  /** Removes a pod and frees its addresses. A namespace that was given with `netns` stays. Throws POD_UNKNOWN. */
  async remove(name: string): Promise<PodReport> {
    return this.#inTurn(name, async () => {
      const pod = this.#find(name);
      if (pod === undefined) {
        throw new WarrenError('POD_UNKNOWN', `there is no pod ${name} on this node`, {
          hint: '`warren pods` lists them.',
        });
      }
      if (this.#staticPods.includes(name)) {
        throw new WarrenError('POD_STATIC', `pod ${name} is in staticPods of this node's configuration`, {
          hint: 'Take it out of staticPods and run `warren reload`.',
        });
      }
      await this.#attachments.delete(name);
      return reportOf(pod);
    });
  }

  #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    return this.#queue.run(name, work);
  }

  #pods(): Attachment[] {
    return this.#attachments.list().filter(({ client }) => client === POD_CLIENT);
  }

  #find(name: string): Attachment | undefined {
    const found = this.#attachments.get(name);
    return found?.client === POD_CLIENT ? found : undefined;
  }

  async #create(name: string, options: PodOptions, isStatic: boolean): Promise<Attachment> {
    const { netns, labels } = options;
    if (!POD_NAME.test(name)) {
      throw new WarrenError(
        'POD_NAME_INVALID',
        `"${name}" cannot be a pod's name: it must be ${POD_NAME_RULE}`,
      );
    }
    if (this.#find(name) !== undefined) {
      throw new WarrenError('POD_EXISTS', `pod ${name} exists already`, {
        hint: `Choose another name, or remove it first: warren pod rm ${name}`,
      });
    }
    if (this.#attachments.size >= MAX_ATTACHMENTS) {
      throw new WarrenError(
        'POD_LIMIT',
        `this node has ${MAX_ATTACHMENTS} pods, which is the most it can have`,
      );
    }
    const owner = netns === undefined ? undefined : this.#attachments.inNamespace(netns)[0];
    if (owner !== undefined) {
      throw new WarrenError(
        'POD_NETNS_TAKEN',
        `${netns} is the network namespace of pod ${owner.name} already`,
      );
    }
    // Nothing is waited for between these checks and the attachment's own, so that no other pod comes in between.
    return this.#attachments.add({
      ...{ id: name, client: POD_CLIENT, name, labels, static: isStatic },
      netns: netns ?? namedNetnsPath(`warren-${this.#options.nodeName}-${name}`),
      ownsNetns: netns === undefined,
    });
  }

  /** A pod that is listed is static from then on, however it was made, and goes when it is listed no longer. */
  async #applyStatic({ name, static: wasStatic }: Attachment): Promise<void> {
    const { log } = this.#options;
    const staticPods = this.#staticPods;
    const isStatic = staticPods.includes(name);
    if (wasStatic === isStatic) return;
    try {
      await this.#inTurn(name, async () => {
        if (isStatic) return this.#attachments.setStatic(name, true);
        await this.#attachments.delete(name);
        log.info({ pod: name }, 'pod is no longer in staticPods and was removed');
      });
    } catch (error) {
      log.error({ pod: name, err: error, hint: hintOf(error) }, 'pod could not be restored');
    }
  }
}

function reportOf(pod: Attachment): PodReport {
  return {
    name: pod.name,
    addresses: pod.addresses.map(formatAddress),
    netns: pod.netns!,
    hostInterface: pod.hostInterface,
    status: pod.status === 'ready' ? 'ready' : 'missing',
    static: pod.static,
    ...(Object.keys(pod.labels).length > 0 && { labels: pod.labels }),
  };
}

function hintOf(error: unknown): string | undefined {
  return error instanceof WarrenError ? error.hint : undefined;
}
