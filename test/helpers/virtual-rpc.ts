/** Requests between nodes on the virtual network, without frames and signatures: they arrive, or they do not. */
import { foreignCode, WarrenError } from '../../src/errors.ts';
import type { Rpc, RpcCallOptions, RpcHandler } from '../../src/rpc/rpc.ts';
import type { SimulatedCluster, SimulatedNode } from '../../src/simulate/cluster.ts';

/** As the transport has it (link/udp-tcp-transport.ts). */
const MAX_INBOUND = 64;
/** Signature, ids, seal. */
const OVERHEAD_BYTES = 150;

export class VirtualRpcs {
  readonly cluster: SimulatedCluster;
  readonly byId = new Map<string, VirtualRpc>();
  /** The most that were open to one node at a time. */
  mostInbound = 0;
  calls = 0;

  constructor(cluster: SimulatedCluster) {
    this.cluster = cluster;
  }

  of(node: SimulatedNode): VirtualRpc {
    const rpc = new VirtualRpc(this, node);
    this.byId.set(node.id, rpc);
    return rpc;
  }
}

export class VirtualRpc implements Rpc {
  readonly #all: VirtualRpcs;
  readonly node: SimulatedNode;
  readonly #handlers = new Map<string, RpcHandler>();
  #inbound = 0;
  /** Changes what it answers. */
  forge: (parts: Uint8Array[]) => Uint8Array[] = (parts) => parts;

  constructor(all: VirtualRpcs, node: SimulatedNode) {
    this.#all = all;
    this.node = node;
  }

  serve(method: string, handler: RpcHandler): void {
    this.#handlers.set(method, handler);
  }

  call(to: string, method: string, body: Uint8Array, options: RpcCallOptions = {}): Promise<Uint8Array[]> {
    const { network, clock } = this.#all.cluster;
    const target = this.#all.byId.get(to);
    const from = this.node.host;
    this.#all.calls++;
    return new Promise((resolve, reject) => {
      const fail = (code: string) => reject(new WarrenError(foreignCode(code), `${method} of ${to}`));
      if (!target) return fail('RPC_UNREACHABLE');
      const timer = clock.after(options.timeoutMs ?? 10_000, () => fail('RPC_UNREACHABLE'));
      from.sentStreamBytes += body.length + OVERHEAD_BYTES;
      target.#inbound++;
      this.#all.mostInbound = Math.max(this.#all.mostInbound, target.#inbound);
      const isBusy = target.#inbound > MAX_INBOUND;
      const over = () => {
        target.#inbound--;
        timer.cancel();
      };
      clock.after(this.#delayMs(2), () => {
        const { host } = target.node;
        if (!target.node.isRunning || host.isDown || !network.reaches(from, host, 'stream')) {
          target.#inbound--;
          return;
        }
        if (isBusy) {
          over();
          return fail('RPC_REFUSED');
        }
        const handler = target.#handlers.get(method);
        if (!handler) {
          over();
          return fail('RPC_UNSUPPORTED');
        }
        const caller = { id: this.node.id, name: this.node.name };
        void collect(handler, body, caller).then(
          (parts) => {
            const answer = target.forge(parts);
            for (const part of answer) host.sentStreamBytes += part.length;
            host.sentStreamBytes += OVERHEAD_BYTES;
            clock.after(this.#delayMs(1), () => {
              over();
              if (network.reaches(host, from, 'stream')) resolve(answer);
            });
          },
          (error) => {
            over();
            reject(error);
          },
        );
      });
    });
  }

  async *stream(to: string, method: string, body: Uint8Array, options?: RpcCallOptions) {
    yield* await this.call(to, method, body, options);
  }

  #delayMs(trips: number): number {
    const { network } = this.#all.cluster;
    let delayMs = network.delayMs() * trips;
    for (let retries = 0; retries < 8 && network.isLost(); retries++) delayMs += 200;
    return delayMs;
  }
}

async function collect(handler: RpcHandler, body: Uint8Array, caller: { id: string; name: string }) {
  const parts: Uint8Array[] = [];
  for await (const part of await handler(body, caller, new AbortController().signal)) parts.push(part);
  return parts;
}
