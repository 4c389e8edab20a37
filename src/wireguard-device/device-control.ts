/**
 * A device as it is configured while it runs: requests of the configuration protocol become a model, and the model what the
 * tunnel works by. One request at a time.
 */
import { EADDRINUSE } from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import type { DeviceModel } from './device-model.ts';
import type { OpenSocket } from './open-socket.ts';
import type { PeerState } from './thread-messages.ts';
import type { RunningTunnel } from './tunnel-thread.ts';
import { reportText, statusText } from './uapi-answer.ts';
import { type Request, type SetRequest, UapiError } from './uapi-request.ts';

/** Where sockets come from; the kernel's, but for tests. Each throws a SysError. */
export interface Sockets {
  open(port: number, fwmark: number): OpenSocket;
  setMark(fd: number, fwmark: number): void;
  close(fd: number): void;
}

export interface DeviceControlParts {
  readonly model: DeviceModel;
  readonly tunnel: RunningTunnel;
  readonly sockets: Sockets;
}

export class DeviceControl {
  readonly #parts: DeviceControlParts;
  #socket: OpenSocket | undefined;
  /** By the number of a peer: whether it has keepalives, as the tunnel knows. */
  #keepalives = new Map<number, number>();

  constructor(parts: DeviceControlParts) {
    this.#parts = parts;
  }

  async handle(request: Request): Promise<string> {
    if (request.operation === 'get') return await this.#report();
    await this.#set(request);
    return statusText(0);
  }

  get fwmark(): number {
    return this.#parts.model.fwmark;
  }

  /** Opens a socket on any port, if there is none yet: the interface is up. */
  async ensureSocket(): Promise<void> {
    if (this.#socket === undefined) await this.#use(this.#parts.sockets.open(0, this.fwmark));
  }

  close(): void {
    if (this.#socket !== undefined) this.#parts.sockets.close(this.#socket.fd);
    this.#socket = undefined;
  }

  async #set(request: SetRequest): Promise<void> {
    const { model, tunnel, sockets } = this.#parts;
    const socket = this.#newSocket(request);
    let changes: ReturnType<DeviceModel['apply']>;
    try {
      if (request.fwmark !== undefined && socket === undefined && this.#socket !== undefined)
        sockets.setMark(this.#socket.fd, request.fwmark);
      changes = model.apply(request);
    } catch (error) {
      if (socket !== undefined) sockets.close(socket.fd);
      throw error;
    }
    if (socket !== undefined) await this.#use(socket);
    const before = this.#keepalives;
    this.#keepalives = new Map(model.peers.map(({ id, persistentKeepaliveS }) => [id, persistentKeepaliveS]));
    await tunnel.configure({
      privateKey: model.privateKey,
      peers: model.peers.map(({ slot, id, publicKey, presharedKey, persistentKeepaliveS }) => ({
        ...{ slot, id, publicKey, presharedKey, persistentKeepaliveMs: 1_000 * persistentKeepaliveS },
        keepaliveNow: persistentKeepaliveS > 0 && (before.get(id) ?? 0) === 0,
      })),
      moved: changes.endpoints,
      allowedIps: changes.allowedIps ? model.allowedIps.snapshot(({ slot }) => slot) : undefined,
    });
  }

  /** The one that a request asks for; undefined: that there is stays. */
  #newSocket({ listenPort, fwmark }: SetRequest): OpenSocket | undefined {
    const isSame = listenPort === undefined || (listenPort !== 0 && listenPort === this.#socket?.port);
    if (this.#socket !== undefined && isSame) return undefined;
    try {
      return this.#parts.sockets.open(listenPort ?? 0, fwmark ?? this.fwmark);
    } catch (error) {
      if (error instanceof SysError && error.errno === EADDRINUSE)
        throw new UapiError(EADDRINUSE, `port ${listenPort} is in use`);
      throw error;
    }
  }

  async #use(socket: OpenSocket): Promise<void> {
    const before = this.#socket;
    this.#socket = socket;
    await this.#parts.tunnel.useSocket(socket.fd);
    if (before !== undefined) this.#parts.sockets.close(before.fd);
  }

  async #report(): Promise<string> {
    const { model, tunnel } = this.#parts;
    const states = new Map<number, PeerState>();
    for (const state of await tunnel.peers()) states.set(state.id, state);
    return reportText({
      privateKey: model.privateKey,
      listenPort: this.#socket?.port ?? 0,
      fwmark: model.fwmark,
      peers: model.peers.map((peer) => {
        const { endpoint, lastHandshakeMs = 0, sentBytes = 0, receivedBytes = 0 } = states.get(peer.id) ?? {};
        const { publicKey, presharedKey, persistentKeepaliveS } = peer;
        return {
          ...{ publicKey, presharedKey, persistentKeepaliveS, endpoint, lastHandshakeMs },
          ...{ sentBytes, receivedBytes, allowedIps: model.allowedIps.of(peer) },
        };
      }),
    });
  }
}
