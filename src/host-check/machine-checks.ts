/** Whether this machine can run an agent at all: kernel, C library, modules and programs. */
import { toolMissing } from '../host/command.ts';
import type { CheckedConfig, HostFacts, ModuleName, ProgramName } from './facts.ts';
import type { Finding, Severity } from './finding.ts';

/** The first with UDP_SEGMENT. */
const LEAST_KERNEL = [4, 18] as const;

interface Need {
  readonly severity: Severity;
  readonly why: string;
}

const MODULE_NEEDS: Partial<Readonly<Record<ModuleName, Need>>> = {
  tun: { severity: 'error', why: 'the agent carries all packets through a TUN device' },
  veth: { severity: 'error', why: 'each pod is joined to the host by a veth pair' },
  nf_tables: {
    severity: 'warning',
    why: 'without it IPv6 sources of pods are not checked, and egress.masquerade does not work',
  },
};

const PROGRAM_NEEDS: Partial<Readonly<Record<ProgramName, Need>>> = {
  ip: { severity: 'error', why: 'the agent makes devices, addresses and routes with it' },
  nsenter: { severity: 'error', why: 'the agent enters the network namespaces of pods with it' },
  unshare: { severity: 'warning', why: 'settings of pods need it where /proc/sys is read-only' },
  tee: { severity: 'warning', why: 'settings of pods are written with it' },
  nft: {
    severity: 'warning',
    why: 'without it IPv6 sources of pods are not checked, and egress.masquerade does not work',
  },
  ping: { severity: 'note', why: '`warren check` needs it' },
};

export function checkMachine(facts: HostFacts, config: CheckedConfig): Finding[] {
  const { machine } = facts;
  const findings: Finding[] = [...kernel(machine.kernel), ...cLibrary(facts), ...modules(facts)];
  for (const [name, need] of entries(PROGRAM_NEEDS)) {
    if (machine.programs[name]) continue;
    const { message, hint = '' } = toolMissing(name);
    const severity = name === 'nft' && config.egress.masquerade ? 'error' : need.severity;
    findings.push({
      check: `program.${name}`,
      severity,
      problem: `${message}: ${need.why}`,
      commands: [hint.slice(hint.indexOf('apt-get'))],
    });
  }
  if (machine.isClockSynchronised === false) {
    findings.push({
      check: 'clock',
      severity: 'warning',
      problem:
        "nothing keeps this host's clock right: times in its logs do not match those of other nodes, and where it is set back while the agent is down, peers take what is new for old",
      commands: ['timedatectl set-ntp true'],
    });
  }
  if (!machine.isRoot) {
    findings.push({
      check: 'user',
      severity: 'note',
      problem: 'not run as root: rules of firewalls, and which process holds a port, cannot be seen',
      commands: ['sudo warren host check'],
    });
  }
  return findings;
}

function kernel(release: string): Finding[] {
  const [major = 0, minor = 0, patch = 0] = release.split(/[.-]/).map(Number);
  if (major < LEAST_KERNEL[0] || (major === LEAST_KERNEL[0] && minor < LEAST_KERNEL[1])) {
    return [
      {
        check: 'kernel',
        severity: 'warning',
        problem: `Linux ${release} is older than ${LEAST_KERNEL.join('.')}: it has no UDP_SEGMENT, so that each packet is a system call of its own, and warren is not tested there`,
        commands: [],
      },
    ];
  }
  // As docs/operations.md says of groups of datagrams.
  const damages = major === 7 && (minor === 0 || (minor === 1 && patch <= 4));
  if (!damages && !(major === 6 && minor === 17)) return [];
  return [
    {
      check: 'kernel.udp-segmentation',
      severity: 'note',
      problem: `Linux ${release} may damage groups of datagrams (UDP segmentation): agents notice, and send to such a host singly, which is slower`,
      commands: [],
    },
  ];
}

function cLibrary({ machine }: HostFacts): Finding[] {
  if (machine.koffiProblem === undefined) return [];
  return [
    {
      check: 'koffi',
      severity: 'error',
      problem: `koffi, by which warren calls the kernel, cannot be loaded with ${machine.cLibrary}: ${machine.koffiProblem}`,
      commands: ['npm ci'],
    },
  ];
}

function modules({ machine }: HostFacts): Finding[] {
  const findings = entries(MODULE_NEEDS).flatMap(([name, { severity, why }]): Finding[] => {
    const state = machine.modules[name];
    if (state === 'loadable') {
      return [
        {
          check: `module.${name}`,
          severity: 'warning',
          problem: `the kernel module ${name} is not loaded: ${why}`,
          commands: [`modprobe ${name}`, `echo ${name} >> /etc/modules-load.d/90-warren.conf`],
          fix: { type: 'module', module: name },
        },
      ];
    }
    if (state !== 'missing') return [];
    const problem = `this kernel has no module ${name}: ${why}`;
    return [{ check: `module.${name}`, severity, problem, commands: [] }];
  });
  if (!machine.hasTunFile && ['there', 'unknown'].includes(machine.modules.tun)) {
    findings.push({
      check: 'tun',
      severity: 'error',
      problem:
        '/dev/net/tun is not there: the agent carries all packets through it (a container gets it by `--device /dev/net/tun`)',
      commands: ['mkdir -p /dev/net', 'mknod /dev/net/tun c 10 200'],
    });
  }
  return findings;
}

function entries<K extends string, V>(record: Partial<Readonly<Record<K, V>>>): [K, V][] {
  return Object.entries(record) as [K, V][];
}
