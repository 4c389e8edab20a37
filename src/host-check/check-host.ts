/** All checks of a host, each a pure function of the facts and the configuration. The worst comes first. */
import type { CheckedConfig, HostFacts } from './facts.ts';
import type { Finding, Severity } from './finding.ts';
import { checkFirewall } from './firewall-checks.ts';
import { checkMachine } from './machine-checks.ts';
import { checkManagers } from './manager-checks.ts';
import { checkMtu, checkOverlays, checkRanges, checkUnderlayAddress } from './network-checks.ts';
import { checkPorts } from './port-checks.ts';
import { checkSysctls } from './sysctl-checks.ts';

const CHECKS: readonly ((facts: HostFacts, config: CheckedConfig) => Finding[])[] = [
  checkMachine,
  checkUnderlayAddress,
  checkPorts,
  checkRanges,
  checkMtu,
  checkFirewall,
  checkSysctls,
  checkManagers,
  checkOverlays,
];
const ORDER: Readonly<Record<Severity, number>> = { error: 0, warning: 1, note: 2 };

export function checkHost(facts: HostFacts, config: CheckedConfig): Finding[] {
  return CHECKS.flatMap((check) => check(facts, config)).sort(
    (a, b) => ORDER[a.severity] - ORDER[b.severity],
  );
}
