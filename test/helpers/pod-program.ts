/**
 * Adds a pod, reads back what protects it, removes it; prints what happened as JSON. Run with the names of a node
 * and of a state folder, in the network and mount namespaces that are to be its host.
 */
import type { WarrenError } from '../../src/errors.ts';
import { readSysctl, setSysctls } from '../../src/host/sysctl.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import { realPods } from './pods.ts';

const [node, stateDir] = process.argv.slice(2) as [string, string];
const { pods, close } = realPods({
  node,
  stateDir,
  subnets: [parsePrefix('10.42.3.0/24'), parsePrefix('fd42::/64')],
});
const outcome: Record<string, unknown> = {};
try {
  const { netns, hostInterface } = await pods.add('web');
  outcome.rpFilter = await readSysctl(`net/ipv4/conf/${hostInterface}/rp_filter`);
  outcome.acceptRa = await readSysctl('net/ipv6/conf/eth0/accept_ra', { netns });
  outcome.hostAcceptRa = await readSysctl(`net/ipv6/conf/${hostInterface}/accept_ra`);
  await pods.remove('web');
} catch (error) {
  outcome.podError = said(error);
}
try {
  await setSysctls(['net/ipv6/conf/all/forwarding'], '1');
} catch (error) {
  outcome.sysctlError = said(error);
}
outcome.pods = pods.list();
await close();
console.log(JSON.stringify(outcome));

function said(error: unknown) {
  const { code, message, hint } = error as WarrenError;
  return { code, message, hint };
}
