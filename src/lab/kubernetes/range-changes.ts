/** Ranges of nodes that are changed by hand, one that two nodes have, and a node that another takes the place of. */
import { setTimeout as delay } from 'node:timers/promises';
import { parseAddress } from '../../ip/address.ts';
import { parsePrefix, prefixContains } from '../../ip/prefix.ts';
import { agentStatus, giveRange, NODE_TIMEOUT_MS, nodeCondition, podCidrOf, type Step } from './change.ts';
import type { Cluster } from './cluster.ts';
import type { KubernetesMachine } from './machine.ts';
import type { Traffic } from './traffic.ts';

/** Of the cluster's, and far from those that the controller manager hands out first. */
const OTHER_RANGE = '10.244.200.0/24';
const WATCH_MS = 10_000;
const HEAR_TIMEOUT_MS = 90_000;

/** The last node is what they are done to. */
export function rangeSteps(cluster: Cluster, traffic: Traffic): readonly Step[] {
  const { control, machines } = cluster;
  const [first] = machines as [KubernetesMachine];
  const last = machines.at(-1)!;
  const says = (machine: KubernetesMachine, text: string, isSaid = true) =>
    cluster.until(`${machine.name} does not say "${text}"`, HEAR_TIMEOUT_MS, async () => {
      const status = await agentStatus(cluster, machine);
      return status !== '' && status.includes(text) === isSaid;
    });
  const hasNetwork = (isThere: boolean) =>
    cluster.until(`NetworkUnavailable of ${last.name} is not ${!isThere}`, HEAR_TIMEOUT_MS, async () => {
      return (await nodeCondition(cluster, last.name, 'NetworkUnavailable')) === (isThere ? 'False' : 'True');
    });
  /** Those of the checks and of the traffic. */
  const removePods = async () => {
    await traffic.setPod(last.name, false);
    await control.told(['delete', 'namespace', 'lab', '--ignore-not-found'], { timeoutMs: NODE_TIMEOUT_MS });
    await cluster.until(`pods of ${last.name} do not go`, NODE_TIMEOUT_MS, async () => {
      return (await traffic.pods()).every(({ node }) => node !== last.name);
    });
  };
  return [
    {
      what: `podCIDR of ${last.name} changed under its pods`,
      act: async () => {
        await giveRange(cluster, last.name, OTHER_RANGE);
        await says(last, 'is taken when they are gone');
        await delay(WATCH_MS);
        return [];
      },
    },
    {
      what: `pods of ${last.name} go, and its new podCIDR is taken`,
      without: last.name,
      act: async () => {
        await removePods();
        await says(last, 'is taken when they are gone', false);
        await traffic.setPod(last.name, true);
        await traffic.ready();
        const pod = (await traffic.pods()).find(({ node }) => node === last.name);
        const isOfIt = pod && prefixContains(parsePrefix(OTHER_RANGE), parseAddress(pod.address));
        return isOfIt ? [] : [`a pod of ${last.name} is ${pod?.address}, which is not of ${OTHER_RANGE}`];
      },
    },
    {
      what: `${first.name} and ${last.name} have one podCIDR`,
      without: last.name,
      act: async () => {
        await removePods();
        const range = await podCidrOf(cluster, first.name);
        await giveRange(cluster, last.name, range);
        await hasNetwork(false);
        await says(first, `${range} is the podCIDR of`);
        await delay(WATCH_MS);
        const failures = (await nodeCondition(cluster, first.name, 'NetworkUnavailable')) === 'False';
        await giveRange(cluster, last.name, OTHER_RANGE);
        await hasNetwork(true);
        await says(first, `${range} is the podCIDR of`, false);
        await traffic.setPod(last.name, true);
        return failures ? [] : [`${first.name} has lost its network to ${last.name}`];
      },
    },
    {
      what: `${last.name} is drained, and another takes its place`,
      without: last.name,
      act: async () => {
        await control.told(['drain', last.name, '--ignore-daemonsets', '--force'], {
          timeoutMs: NODE_TIMEOUT_MS,
        });
        await last.powerOff();
        await control.told(['delete', 'node', last.name]);
        last.forget();
        await cluster.programsOf(last).startAgain();
        await cluster.until(`${last.name} does not come back`, NODE_TIMEOUT_MS, async () => {
          return (await nodeCondition(cluster, last.name, 'Ready')) === 'True';
        });
        await traffic.setPod(last.name, true);
        return [];
      },
    },
  ];
}
