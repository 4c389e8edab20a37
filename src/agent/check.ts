/** What answers the connections of a check, on this node and on others: loaded when somebody asks for it. */
import { RESPONDER_METHOD } from '../check/method.ts';
import type { Responders, RespondersOptions } from '../check/responders.ts';
import type { RespondersReport } from '../readmodel/check-reports.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { Rpc } from '../rpc/rpc.ts';
import type { AgentParts } from './parts.ts';

export interface ResponderParts {
  load(options: RespondersOptions): Promise<Responders>;
  readonly start: RespondersOptions['start'];
}

/** Serves other nodes from now on; gives what this node's own command calls. Undefined where nothing answers. */
export function servedResponders(
  { responders, clock }: AgentParts,
  {
    rpc,
    model,
    others,
    admits,
  }: {
    readonly rpc: Rpc;
    readonly model: ReadModel;
    readonly others: RespondersOptions['others'];
    readonly admits: RespondersOptions['admits'];
  },
): ((seconds: number) => Promise<RespondersReport>) | undefined {
  if (!responders) return undefined;
  let loading: Promise<Responders> | undefined;
  const loaded = () => {
    loading ??= responders.load({
      ...{
        rpc,
        others,
        admits,
        nodeName: model.targets().node,
        start: responders.start,
        nowMs: () => clock.now(),
      },
      listenOn: () => [
        ...model.targets().addresses.map((address) => ({ pod: null, address, netns: undefined })),
        ...model
          .pods()
          .filter(({ status }) => status === 'ready')
          .flatMap(({ name, addresses, netns }) =>
            addresses.map((address) => ({ pod: name, address, netns })),
          ),
      ],
    });
    return loading;
  };
  rpc.serve(RESPONDER_METHOD, async (body, caller) => (await loaded()).answer(body, caller));
  return async (seconds) => (await loaded()).all(seconds);
}
