/** Sysdumps as an agent has them: loaded when somebody asks for one. */
import type { Rpc } from '../rpc/rpc.ts';
import { SYSDUMP_METHOD } from '../sysdump/method.ts';
import type { SysdumpOptions, Sysdumps } from '../sysdump/sysdumps.ts';

export type LoadSysdumps = (options: SysdumpOptions) => Promise<Sysdumps>;

/** Serves other nodes from now on; gives what this node's own command calls. */
export function serveSysdumps(rpc: Rpc, load: LoadSysdumps, options: SysdumpOptions) {
  let loading: Promise<Sysdumps> | undefined;
  const loaded = () => {
    loading ??= load(options);
    return loading;
  };
  rpc.serve(SYSDUMP_METHOD, async () => (await loaded()).answer());
  return async (all: boolean) => (await loaded()).report(all);
}
