/** Firewalls that drop what pods forward, or what other nodes send. Who of them the agent tells itself is a note at most. */
import { ATTACHMENT_INTERFACES } from '../host/rules/docker-forwarding.ts';
import { type ForwardPolicy, forwardProblem, interfacesOf } from '../host/rules/forward-policy.ts';
import type { CheckedConfig, DroppingChain, HostFacts } from './facts.ts';
import type { Finding } from './finding.ts';
import { wantedPorts } from './port-checks.ts';

export function checkFirewall(facts: HostFacts, config: CheckedConfig): Finding[] {
  const { firewall } = facts;
  const concerned = firewall.forward.filter(
    ({ family }) =>
      config.cluster.podCidrs.length === 0 ||
      config.cluster.podCidrs.some(({ range }) => range.family === family),
  );
  return [
    ...concerned.flatMap((policy) => forward(policy, facts, config.tun.name)),
    ...(firewall.hasFirewalld ? firewalld(facts, config.tun.name) : []),
    ...firewall.droppingChains.filter(isNobodys).flatMap((chain) => droppingChain(chain, config)),
  ];
}

function forward(policy: ForwardPolicy, { machine }: HostFacts, tunName: string): Finding[] {
  const found = forwardProblem(policy, tunName);
  if (found === undefined) return [];
  const check = `firewall.forward${policy.family}`;
  if (!policy.hasDocker) return [{ check, severity: 'error', ...found }];
  const program = policy.family === 4 ? 'iptables' : 'ip6tables';
  const docker = `Docker drops what pods forward over IPv${policy.family}`;
  if (machine.programs[program]) {
    const problem = `${docker}: the agent puts a jump into its chain DOCKER-USER when it starts`;
    return [{ check, severity: 'note', problem, commands: [] }];
  }
  const problem = `${docker}, and the agent lets it through by the program ${program}, which is not installed`;
  return [{ check, severity: 'error', problem, commands: ['apt-get install iptables'] }];
}

function firewalld({ machine }: HostFacts, tunName: string): Finding[] {
  if (machine.programs['firewall-cmd']) {
    const problem = `firewalld runs: the agent puts ${interfacesOf(tunName).join(' and ')} into its zone trusted when it starts; other nodes must be let in at warren's ports in the zone of the underlay`;
    return [{ check: 'firewall.firewalld', severity: 'note', problem, commands: [] }];
  }
  const problem = 'firewalld runs, and cannot be told of the interfaces: firewall-cmd is not installed';
  return [
    { check: 'firewall.firewalld', severity: 'error', problem, commands: ['apt-get install firewalld'] },
  ];
}

/** firewalld, and the policies of iptables, are looked at above. */
function isNobodys({ by, family, table, hook }: DroppingChain): boolean {
  const isIptables = ['ip', 'ip6'].includes(family) && table === 'filter' && hook === 'forward';
  return table !== 'firewalld' && (by === 'rule' || !isIptables);
}

function droppingChain(found: DroppingChain, config: CheckedConfig): Finding[] {
  const { by, family, table, chain, hook, namesInterfaces } = found;
  const why = by === 'policy' ? 'its policy is drop' : 'a rule of it drops or rejects all that comes so far';
  const place = `${family} ${table} ${chain}`;
  if (hook === 'forward' && !namesInterfaces) {
    const interfaces = [config.tun.name, ATTACHMENT_INTERFACES.replace('+', '*')];
    return [
      {
        check: 'firewall.nftables',
        severity: 'error',
        problem: `the nftables chain ${place} drops what pods send and get: ${why}, and none of its rules names ${interfaces.join(' and ')}`,
        commands: interfaces.flatMap((name) => [
          `nft insert rule ${place} iifname '"${name}"' accept`,
          `nft insert rule ${place} oifname '"${name}"' accept`,
        ]),
      },
    ];
  }
  if (hook !== 'input') return [];
  const ports = wantedPorts(config).filter(({ isForNodes }) => isForNodes);
  return [
    {
      check: 'firewall.input',
      severity: 'warning',
      problem: `the chain ${place} drops what comes in, for ${why}: other nodes must be let in at ${ports.map(({ protocol, port }) => `${protocol.toUpperCase()} ${port}`).join(', ')}, and pods at ${config.tun.name} and ${ATTACHMENT_INTERFACES.replace('+', '*')} if they are to reach this host`,
      commands: ports.map(
        ({ protocol, port }) => `nft insert rule ${place} ${protocol} dport ${port} accept`,
      ),
    },
  ];
}
