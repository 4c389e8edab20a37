/** The parts of an agent on Linux: the real clock, host, disk, devices, sockets. */
import { agentIsRunning } from '../api/client.ts';
import type { Commands } from '../api/commands.ts';
import { PageAccess, readTlsFiles, readTokenFile, type TlsFiles } from '../api/page-access.ts';
import { startApiServer } from '../api/server.ts';
import { startTcpApi } from '../api/tcp.ts';
import { realClock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { UserspaceDataPlane } from '../dataplane/userspace.ts';
import { linuxParts as userspaceOnLinux } from '../dataplane/userspace-parts.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { LinuxAttachmentNetwork } from '../host/attachment/linux-attachment-network.ts';
import { linuxBoot } from '../host/boot.ts';
import { groupId } from '../host/group.ts';
import { linuxHost } from '../host/host.ts';
import { linuxGenerationSources, machineGeneration } from '../host/machine-generation.ts';
import { LinuxHostRules } from '../host/rules/linux-host-rules.ts';
import type { HostPort } from '../ip/endpoint.ts';
import { UdpTcpTransport } from '../link/udp-tcp-transport.ts';
import type { Logger } from '../log/logger.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { CaptureParts } from './capture.ts';
import type { ResponderParts } from './check.ts';
import type { LoadGroupProbes } from './group-probing.ts';
import type { LoadPairKeys } from './pair-keying.ts';
import type { AgentParts } from './parts.ts';
import { fileState } from './state.ts';
import type { LoadSysdumps } from './sysdump.ts';
import type { TraceParts } from './trace.ts';

/** `api.listen: auto`: beside gossip's port. */
const AUTO_LISTEN: HostPort = { host: '127.0.0.1', port: 7947 };

/** Reads the state folder and the key file, and throws what is wrong with them. */
export function linuxParts(config: Config, log: Logger): AgentParts {
  return {
    clock: realClock,
    boot: linuxBoot(),
    generation: machineGeneration(realClock, linuxGenerationSources()),
    log,
    host: linuxHost(),
    state: fileState(config, log),
    openDataPlane: (options) => new UserspaceDataPlane({ ...options, parts: userspaceOnLinux() }),
    transport: (bind, { streamTimeoutMs }) => new UdpTcpTransport({ bind, logger: log, streamTimeoutMs }),
    attachmentNetwork: new LinuxAttachmentNetwork({ log }),
    hostRules: new LinuxHostRules(config),
    groupProbes: loadGroupProbes,
    pairKeys: loadPairKeys,
    names: async () => (await import('./linux-names.ts')).linuxNameParts(),
    responders: linuxResponders,
    captures: linuxCaptures,
    traces: linuxTraces,
    sysdumps: loadSysdumps,
    hostFacts: async () => {
      const { linuxFacts } = await import('../sysdump/linux-facts.ts');
      return linuxFacts(config.node.stateDir, config.tun.name);
    },
    cni: { stateDir: config.node.stateDir, socket: config.node.socket },
    kubernetes: async ({ kubeconfig }) => {
      const { httpsApi } = await import('../kubernetes/https-api.ts');
      return httpsApi(kubeconfig);
    },
    docker: { stateDir: config.node.stateDir },
    policies: { stateDir: config.node.stateDir },
    serve: (model, commands) => serve(config, model, commands, log),
  };
}

const loadGroupProbes: LoadGroupProbes = async (options) => {
  const { GroupProbes } = await import('../group-probe/group-probes.ts');
  const { linuxProbeSockets } = await import('../group-probe/linux-sockets.ts');
  return new GroupProbes(options, linuxProbeSockets);
};

const loadPairKeys: LoadPairKeys = async (options) => {
  const { PairKeyExchange } = await import('../post-quantum/pair-keys.ts');
  const { loadMlKem } = await import('../post-quantum/ml-kem.ts');
  return new PairKeyExchange(options, await loadMlKem());
};

const linuxResponders: ResponderParts = {
  load: async (options) => {
    const { Responders } = await import('../check/responders.ts');
    return new Responders(options);
  },
  start: async (settings) => {
    const { startResponder } = await import('../check/start-responder.ts');
    return startResponder(settings);
  },
};

const linuxCaptures: CaptureParts = {
  load: async (options) => {
    const { Captures } = await import('../capture/captures.ts');
    return new Captures(options);
  },
  local: async function* ({ request, ...capture }, signal) {
    const { captureOnThread } = await import('../capture/capture-thread.ts');
    const { filter, snapBytes } = request;
    yield* captureOnThread({ ...capture, filter, snapBytes }, signal);
  },
};

const linuxTraces: TraceParts = {
  load: async ({ parts, isOwn, ...options }) => {
    const { Traces } = await import('../trace/traces.ts');
    const { NodeTraces } = await import('../trace/node-traces.ts');
    const { Observation } = await import('../trace/observation.ts');
    const own = new NodeTraces({
      ...{ clock: options.clock, isOwn },
      begin: (request) => Observation.begin(request, parts),
      sourceOf: (request) => Observation.sourceOf(request, parts),
    });
    return new Traces({ ...options, own });
  },
};

const loadSysdumps: LoadSysdumps = async (options) => {
  const { Sysdumps } = await import('../sysdump/sysdumps.ts');
  return new Sysdumps(options);
};

/** Throws AGENT_RUNNING if another agent answers on this one's control socket. */
export async function refuseSecondAgent({ node }: Config): Promise<void> {
  if (!(await agentIsRunning(node.socket))) return;
  throw new WarrenError('AGENT_RUNNING', `another agent answers on ${node.socket}`, {
    hint: 'Stop it first, or give this one its own node.socket, node.stateDir and tun.name.',
  });
}

async function serve(
  { node, api }: Config,
  model: ReadModel,
  commands: Commands,
  log: Logger,
): Promise<{ close(): Promise<void> }> {
  const servers: { close(): Promise<void> }[] = [];
  const close = async () => {
    for (const server of servers.splice(0).reverse()) await server.close();
  };
  const group = (name: string | undefined) => (name === undefined ? undefined : groupId(name));
  try {
    const tls = api.tls && readTlsFiles(api.tls);
    const token = api.tokenFile === undefined ? undefined : readTokenFile(api.tokenFile, log);
    const isAuto = api.listen === 'auto';
    const listen = api.listen === 'auto' ? AUTO_LISTEN : api.listen;
    const access = new PageAccess({ listen, tls, token });
    const page = () => access.report();
    const gid = await group(api.socketGroup);
    servers.push(await startApiServer({ path: node.socket, gid, model, page, commands, log }));
    if (api.readOnlySocket !== undefined) {
      const path = api.readOnlySocket;
      const readers = await group(api.readOnlyGroup);
      servers.push(await startApiServer({ path, gid: readers, model, page, commands: undefined, log }));
    }
    const tcp =
      listen && (await serveTcp(listen, { isAuto, access, tls, model, log, links: () => commands.links() }));
    if (tcp) servers.push(tcp);
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}

/** Undefined where the address that nobody asked for cannot be had. */
export async function serveTcp(
  listen: HostPort,
  options: {
    readonly isAuto: boolean;
    readonly access: PageAccess;
    readonly tls: TlsFiles | undefined;
    readonly model: ReadModel;
    readonly links: Commands['links'];
    readonly log: Logger;
  },
): Promise<{ close(): Promise<void> } | undefined> {
  const { isAuto, access, log } = options;
  try {
    const server = await startTcpApi({ listen, page: access, ...options });
    if (access.refusal === undefined) log.info({ url: access.url }, 'web page');
    else log.warn(`no web page: ${access.refusal}`);
    return server;
  } catch (error) {
    if (!isAuto) throw error;
    access.failed(errorMessage(error));
    log.warn(`no web page: ${errorMessage(error)}`);
    return undefined;
  }
}
