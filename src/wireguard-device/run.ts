/**
 * One device from its beginning to its end: TUN, thread, socket, configuration socket. It ends when it is told to (SIGTERM,
 * SIGINT), when its interface is deleted or when its configuration socket is removed, and takes both with it.
 */
import { MAX_VTEPS } from '../datapath/counters.ts';
import type { Logger } from '../log/logger.ts';
import * as libc from '../sys/libc.ts';
import { adoptTunDevice, openOwnTunDevice } from '../tun/tun-device.ts';
import { DeviceControl } from './device-control.ts';
import { DeviceLink } from './device-link.ts';
import { DeviceModel } from './device-model.ts';
import { openTunnelSocket, setMark, socketFamily } from './open-socket.ts';
import { TunnelThread } from './tunnel-thread.ts';
import { UapiServer, uapiPath } from './uapi-server.ts';

/** What fits any common path with WireGuard around it: 1500 less 80. */
const DEFAULT_MTU = 1_420;
/** For what no event tells of: an interface in another network namespace. */
const LOOK_EVERY_MS = 1_000;
/** After an event, for those that come with it. */
const LOOK_AFTER_MS = 20;
const OFFLOADS = { tso: true, uso: true };

export interface DeviceOptions {
  /** `wg%d`: the kernel chooses a number. */
  readonly name: string;
  /** Of a TUN device, or a socket that listens, which whoever started this has opened. */
  readonly tunFd: number | undefined;
  readonly uapiFd: number | undefined;
  readonly log: Logger;
  /** `wg` finds it. */
  readonly onReady: () => void;
}

/** Resolves when the device is gone. Throws where it cannot be made, and when its thread fails. */
export async function runDevice(options: DeviceOptions): Promise<void> {
  const { log } = options;
  const tun =
    options.tunFd === undefined
      ? openOwnTunDevice(options.name, OFFLOADS)
      : adoptTunDevice(options.tunFd, OFFLOADS);
  const tunFd = tun.readFds[0]!;
  let link: DeviceLink | undefined;
  let device: RunningDevice | undefined;
  try {
    link = new DeviceLink(tunFd);
    device = new RunningDevice(tunFd, link, log);
    if (options.tunFd === undefined) device.setMtu(DEFAULT_MTU);
    await device.start(tun.name, options.uapiFd);
    log.info({ device: tun.name }, 'device is ready');
    options.onReady();
    await device.ended;
    log.info({ device: tun.name }, 'device ends');
  } catch (error) {
    log.error({ err: error }, 'device fails');
    throw error;
  } finally {
    await device?.stop();
    link?.close();
    libc.close(tunFd);
  }
}

class RunningDevice {
  readonly #tunFd: number;
  readonly #link: DeviceLink;
  readonly #log: Logger;
  readonly #family = socketFamily();
  readonly ended: Promise<void>;
  #end!: { readonly resolve: () => void; readonly reject: (error: unknown) => void };
  #tunnel: TunnelThread | undefined;
  #control: DeviceControl | undefined;
  #server: UapiServer | undefined;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #known = '';
  #mtu = DEFAULT_MTU;
  /** Ways are not asked for again before, so that it takes a tenth of the time at most. */
  #checkAgainMs = 0;
  #hasEnded = false;

  constructor(tunFd: number, link: DeviceLink, log: Logger) {
    this.#tunFd = tunFd;
    this.#link = link;
    this.#log = log;
    this.ended = new Promise((resolve, reject) => {
      this.#end = { resolve, reject };
    });
    // It may fail before anybody waits for it.
    this.ended.catch(() => {});
  }

  setMtu(mtu: number): void {
    const found = this.#link.look();
    if (typeof found === 'object') this.#link.setMtu(found.index, mtu);
  }

  async start(name: string, uapiFd: number | undefined): Promise<void> {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, this.#finish);
    const log = this.#log;
    const tunnel = await TunnelThread.start({
      tunFd: this.#tunFd,
      family: this.#family,
      onNetworkChanged: () => this.#lookSoon(true),
      onEnded: (error) => (error === undefined ? this.#finish() : this.#fail(error)),
      onFailed: (reason) => log.warn({ reason }, 'a handshake could not begin'),
    });
    this.#tunnel = tunnel;
    const control = new DeviceControl({
      model: new DeviceModel(MAX_VTEPS),
      tunnel,
      sockets: {
        open: (port, fwmark) => openTunnelSocket(this.#family, port, fwmark),
        setMark,
        close: (fd) => void libc.close(fd),
      },
    });
    this.#control = control;
    await this.#look(false);
    this.#server = await UapiServer.start({
      path: uapiPath(name),
      fd: uapiFd,
      handle: (request) => control.handle(request),
      onRefused: (reason) => log.error({ reason }, 'a request was refused'),
      onRemoved: this.#finish,
    });
    this.#timer = setInterval(() => void this.#look(false).catch(this.#fail), LOOK_EVERY_MS);
  }

  async stop(): Promise<void> {
    this.#hasEnded = true;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.off(signal, this.#finish);
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#server?.close();
    await this.#tunnel?.stop();
    this.#control?.close();
  }

  readonly #finish = (): void => this.#end.resolve();
  readonly #fail = (error: unknown): void => this.#end.reject(error);

  #lookSoon(checksSources: boolean): void {
    this.#soon ??= setTimeout(
      () => {
        this.#soon = undefined;
        this.#look(checksSources).catch(this.#fail);
      },
      Math.max(LOOK_AFTER_MS, this.#checkAgainMs - performance.now()),
    );
  }

  async #look(checksSources: boolean): Promise<void> {
    if (this.#hasEnded) return;
    const found = this.#link.look();
    if (found === 'deleted') return this.#finish();
    // Where it cannot be looked at it is taken to be up, as it was last.
    const { isUp, mtu } = found ?? { isUp: true, mtu: this.#mtu };
    this.#mtu = mtu;
    if (isUp) await this.#control!.ensureSocket();
    const now = `${isUp} ${mtu}`;
    if (now !== this.#known) {
      this.#known = now;
      await this.#tunnel!.setInterface(isUp, mtu);
    }
    if (checksSources) await this.#checkSources();
  }

  /** After the ways to peers may have changed: answers leave by where the peer's own came in, or from an address of the kernel's choice. */
  async #checkSources(): Promise<void> {
    const states = await this.#tunnel!.peers();
    const { fwmark } = this.#control!;
    const beganMs = performance.now();
    const astray = states.filter(
      ({ endpoint, source }) =>
        endpoint !== undefined && source !== undefined && !this.#link.leadsBack(endpoint, source, fwmark),
    );
    const nowMs = performance.now();
    this.#checkAgainMs = nowMs + 9 * (nowMs - beganMs);
    if (astray.length > 0) await this.#tunnel!.forgetSources(astray.map(({ slot }) => slot));
  }
}
