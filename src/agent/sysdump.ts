/** Sysdumps as an agent has them: loaded when somebody asks for one. */
import type { Config } from '../config/config.ts';
import { renderConfig } from '../config/render.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import { TOPICS } from '../readmodel/topics.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { SYSDUMP_METHOD } from '../sysdump/method.ts';
import type { SysdumpOptions, Sysdumps } from '../sysdump/sysdumps.ts';
import type { AgentParts } from './parts.ts';

export type LoadSysdumps = (options: SysdumpOptions) => Promise<Sysdumps>;

/** Serves other nodes from now on; gives what this node's own command calls. */
function serveSysdumps(rpc: Rpc, load: LoadSysdumps, options: SysdumpOptions) {
  let loading: Promise<Sysdumps> | undefined;
  const loaded = () => {
    loading ??= load(options);
    return loading;
  };
  rpc.serve(SYSDUMP_METHOD, async () => (await loaded()).answer());
  return async (all: boolean) => (await loaded()).report(all);
}

/** What of an agent is in them. Undefined where it makes none. */
export function servedSysdumps(
  { sysdumps, state, hostFacts, recentLog }: AgentParts,
  {
    rpc,
    model,
    config,
    others,
  }: {
    readonly rpc: Rpc & SysdumpOptions['rpc'];
    readonly model: ReadModel;
    readonly config: () => Config;
    readonly others: SysdumpOptions['others'];
  },
) {
  if (!sysdumps) return undefined;
  return serveSysdumps(rpc, sysdumps, {
    ...{ rpc, others, nodeName: config().node.name, isSealed: state.keys !== undefined },
    sources: {
      reports: Object.fromEntries(TOPICS.map((topic) => [topic, () => model[topic]()])),
      config: () => renderConfig(withoutSecrets(config())),
      log: () => recentLog?.() ?? '',
      host: async () => hostFacts?.() ?? [],
      secrets: () => [...state.secrets(), ...secretsIn(config())],
    },
  });
}

/** What static peers and this node have in common, and nobody else may know. */
function secretsIn({ staticPeers }: Config): Uint8Array[] {
  return staticPeers.flatMap(({ presharedKey }) => presharedKey ?? []);
}

function withoutSecrets(config: Config): Config {
  const staticPeers = config.staticPeers.map(({ presharedKey: _, ...peer }) => peer);
  return { ...config, staticPeers };
}
