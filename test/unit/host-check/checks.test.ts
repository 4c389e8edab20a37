/** Each check of a host against facts that have one thing wrong. */
import { describe, expect, it } from 'vitest';
import type { ForwardPolicy } from '../../../src/host/rules/forward-policy.ts';
import { checkHost } from '../../../src/host-check/check-host.ts';
import type { DroppingChain, HostFacts, SocketFacts } from '../../../src/host-check/facts.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { hostConfig, hostFacts, hostLink, RANGES } from '../../helpers/host-facts.ts';

const GOOD = hostFacts();

/** What is found, as `severity check`. */
function found(changed: Partial<HostFacts>, config = hostConfig()) {
  return checkHost(hostFacts(changed), config).map(({ severity, check }) => `${severity} ${check}`);
}

function only(changed: Partial<HostFacts>, config = hostConfig()) {
  const findings = checkHost(hostFacts(changed), config);
  expect(findings).toHaveLength(1);
  return findings[0]!;
}

const machine = (changed: Partial<HostFacts['machine']>) => ({ machine: { ...GOOD.machine, ...changed } });
const modules = (changed: Partial<HostFacts['machine']['modules']>) =>
  machine({ modules: { ...GOOD.machine.modules, ...changed } });
const without = (...names: readonly (keyof HostFacts['machine']['programs'])[]) =>
  machine({
    programs: { ...GOOD.machine.programs, ...Object.fromEntries(names.map((name) => [name, false])) },
  });
const sysctls = (changed: Partial<HostFacts['sysctls']>) => ({ sysctls: { ...GOOD.sysctls, ...changed } });
const firewall = (changed: Partial<HostFacts['firewall']>) => ({
  firewall: { ...GOOD.firewall, ...changed },
});
const network = (...links: readonly ReturnType<typeof hostLink>[]) => ({
  network: { links: [...GOOD.network!.links, ...links], routes: GOOD.network!.routes },
});

describe('a host where all is well', () => {
  it('has nothing to be said of it', () => {
    expect(found({})).toEqual([]);
  });
});

describe('the machine', () => {
  it('lacks a module: those that are not needed are not asked for', () => {
    expect(found(modules({ tun: 'missing', veth: 'missing', nf_tables: 'missing' }))).toEqual([
      'error module.tun',
      'error module.veth',
      'warning module.nf_tables',
    ]);
    expect(found(modules({ vxlan: 'missing', br_netfilter: 'missing' }))).toEqual([]);
    expect(found(modules({ tun: 'unknown', veth: 'unknown' }))).toEqual([]);
  });

  it('has a module that is not loaded, which can be', () => {
    expect(only(modules({ veth: 'loadable' }))).toMatchObject({
      severity: 'warning',
      fix: { type: 'module', module: 'veth' },
      commands: ['modprobe veth', expect.stringContaining('modules-load.d')],
    });
  });

  it('has no /dev/net/tun', () => {
    expect(only(machine({ hasTunFile: false })).problem).toContain('--device /dev/net/tun');
  });

  it('lacks programs, which is said with what to install', () => {
    expect(found(without('ip', 'nft', 'ping'))).toEqual([
      'error program.ip',
      'warning program.nft',
      'note program.ping',
    ]);
    expect(only(without('nft')).commands).toEqual(['apt-get install nftables']);
    expect(found(without('nft'), hostConfig(`${RANGES}egress: {masquerade: true}`))).toEqual([
      'error program.nft',
    ]);
    // Only where Docker or firewalld are.
    expect(found(without('iptables', 'ip6tables', 'firewall-cmd'))).toEqual([]);
  });

  it('cannot load koffi', () => {
    const { severity, problem } = only(
      machine({ koffiProblem: 'GLIBC_2.27 not found', cLibrary: 'glibc 2.17' }),
    );
    expect(severity).toBe('error');
    expect(problem).toContain('glibc 2.17: GLIBC_2.27 not found');
  });

  it.each([
    ['3.10.0-1160.el7', ['warning kernel']],
    ['4.18.0', []],
    ['6.17.0-5-generic', ['note kernel.udp-segmentation']],
    ['7.1.4', ['note kernel.udp-segmentation']],
    ['7.1.5', []],
    ['something', []],
  ])('runs Linux %s', (kernel, expected) => {
    expect(found(machine({ kernel }))).toEqual(expected);
  });

  it('is looked at by somebody who may not see all', () => {
    expect(found(machine({ isRoot: false }))).toEqual(['note user']);
  });
});

describe('settings', () => {
  it('forward nothing: one finding for each family, IPv6 with what keeps router advertisements', () => {
    const [ipv4, ipv6] = checkHost(
      hostFacts(
        sysctls({
          missingForwarding: [
            ['net/ipv4/ip_forward', '1'],
            ['net/ipv6/conf/eth0.7/accept_ra', '2'],
            ['net/ipv6/conf/all/forwarding', '1'],
          ],
        }),
      ),
      hostConfig(),
    );
    expect(ipv4).toMatchObject({ severity: 'warning', commands: ['sysctl -w net.ipv4.ip_forward=1'] });
    expect(ipv6!.commands).toEqual([
      'sysctl -w net.ipv6.conf.eth0/7.accept_ra=2',
      'sysctl -w net.ipv6.conf.all.forwarding=1',
    ]);
  });

  it('have no IPv6, where pods are to have it', () => {
    const none = sysctls({ hasIpv6: false, missingForwarding: [['net/ipv6/conf/all/forwarding', '1']] });
    expect(found(none)).toEqual(['error sysctl.ipv6']);
    expect(found(none, hostConfig('cluster: {podCidrs: [10.42.0.0/16]}'))).toEqual([]);
  });

  it('check reverse paths strictly, which matters with several ways out, and is nothing to mend unasked', () => {
    expect(found(sysctls({ rpFilter: '1' }))).toEqual([]);
    const routes = ['eth0', 'eth1'].map((dev) => ({ dst: 'default', dev }));
    const finding = only({ ...sysctls({ rpFilter: '1' }), network: { links: [], routes } });
    expect(finding).toMatchObject({ check: 'sysctl.rp_filter', severity: 'warning' });
    expect(finding.fix).toBeUndefined();
  });

  it('leave no answer to ARP', () => {
    expect(found(sysctls({ arpIgnore: '1' }))).toEqual(['error sysctl.arp_ignore']);
  });

  it.each([
    [32_768, 10, '65536'],
    [262_144, 250_000, '524288'],
    [262_144, 10, undefined],
    [undefined, undefined, undefined],
    [0, 0, undefined],
  ])('have room for %s connections, of which %s are there', (conntrackMax, conntrackCount, wanted) => {
    const findings = checkHost(hostFacts(sysctls({ conntrackMax, conntrackCount })), hostConfig());
    expect(findings.map(({ fix }) => fix)).toEqual(
      wanted === undefined
        ? []
        : [{ type: 'sysctls', settings: [['net/netfilter/nf_conntrack_max', wanted]] }],
    );
  });
});

describe('the clock', () => {
  it('is to be kept right; where that cannot be told nothing is said', () => {
    const clock = (isClockSynchronised: boolean | undefined) => ({
      machine: { ...GOOD.machine, isClockSynchronised },
    });
    expect(only(clock(false))).toMatchObject({ check: 'clock', severity: 'warning' });
    expect(found(clock(undefined))).toEqual([]);
  });
});

describe('firewalls', () => {
  const drops: ForwardPolicy = {
    ...{
      family: 4,
      drops: true,
      hasDocker: false,
      isLedPastDocker: false,
      hasUfw: false,
      isLetThrough: false,
    },
  };

  it('that drop what pods forward are named with what to type', () => {
    const { severity, commands } = only(firewall({ forward: [drops] }));
    expect(severity).toBe('error');
    expect(commands).toContain('iptables -I FORWARD -i wp+ -j ACCEPT');
    expect(only(firewall({ forward: [{ ...drops, hasUfw: true }] })).commands).toContain(
      'ufw route allow in on warren0',
    );
    expect(found(firewall({ forward: [{ ...drops, isLetThrough: true }] }))).toEqual([]);
  });

  it('of a family that no pod has are none of ours', () => {
    const config = hostConfig('cluster: {podCidrs: ["fd42::/48"]}');
    expect(found(firewall({ forward: [drops] }), config)).toEqual([]);
  });

  it('that the agent tells itself are a note, unless it lacks the program', () => {
    const docker = firewall({ forward: [{ ...drops, hasDocker: true }], hasFirewalld: true });
    expect(found(docker)).toEqual(['note firewall.forward4', 'note firewall.firewalld']);
    expect(found({ ...docker, ...without('iptables', 'firewall-cmd') })).toEqual([
      'error firewall.forward4',
      'error firewall.firewalld',
    ]);
    expect(found(firewall({ forward: [{ ...drops, hasDocker: true, isLedPastDocker: true }] }))).toEqual([]);
  });

  it('of nftables: a chain that drops what is forwarded, or what comes in', () => {
    const place = { family: 'inet', table: 'filter', chain: 'f', hook: 'forward' };
    const chain: DroppingChain = { ...place, by: 'policy', namesInterfaces: false };
    expect(only(firewall({ droppingChains: [chain] })).commands).toContain(
      `nft insert rule inet filter f iifname '"wp*"' accept`,
    );
    expect(found(firewall({ droppingChains: [{ ...chain, namesInterfaces: true }] }))).toEqual([]);
    const input = only(firewall({ droppingChains: [{ ...chain, chain: 'i', hook: 'input' }] }));
    expect(input.severity).toBe('warning');
    expect(input.commands).toEqual([
      'nft insert rule inet filter i udp dport 7946 accept',
      'nft insert rule inet filter i tcp dport 7946 accept',
      'nft insert rule inet filter i udp dport 4790 accept',
    ]);
    const rule: DroppingChain = { ...chain, by: 'rule', family: 'ip', chain: 'FORWARD' };
    expect(only(firewall({ droppingChains: [rule] })).problem).toContain(
      'a rule of it drops or rejects all that comes so far',
    );
    // Said of iptables and of firewalld already.
    const others = [
      { ...chain, family: 'ip', chain: 'FORWARD' },
      { ...chain, table: 'firewalld' },
    ];
    expect(found(firewall({ droppingChains: others }))).toEqual([]);
  });

  it('say of bridges only where FORWARD drops', () => {
    expect(found(sysctls({ bridgeCallsIptables: '1' }))).toEqual([]);
    const both = {
      ...sysctls({ bridgeCallsIptables: '1' }),
      ...firewall({ forward: [{ ...drops, isLetThrough: true }] }),
    };
    expect(found(both)).toEqual(['note sysctl.bridge-nf-call-iptables']);
  });
});

describe('ports', () => {
  const socket = (changed: Partial<SocketFacts>): SocketFacts => ({
    protocol: 'udp',
    address: '0.0.0.0',
    port: 7946,
    process: { pid: 812, name: 'dockerd', command: '/usr/bin/dockerd -H fd://' },
    ...changed,
  });

  it('that others have are named with who has them', () => {
    expect(only({ sockets: [socket({})] })).toMatchObject({
      check: 'port.gossip',
      severity: 'error',
      problem: expect.stringContaining('dockerd (process 812: /usr/bin/dockerd -H fd://), Docker Swarm'),
    });
    const speaker = { pid: 3, name: 'speaker', command: '/speaker' };
    expect(only({ sockets: [socket({ process: speaker, protocol: 'tcp' })] }).problem).toContain('MetalLB');
    const kernel = socket({ port: 51_820, process: undefined });
    const wireguard = { ...network(hostLink('wg0', '198.51.100.1/32', 'wireguard')), sockets: [kernel] };
    const config = hostConfig(`${RANGES}encapsulation: {type: vxlan-gpe, port: 51820}`);
    expect(only(wireguard, config).problem).toMatch(
      /UDP port 51820 .* the kernel itself .* wg0 \(wireguard\)/,
    );
    expect(
      only({ ...machine({ isRoot: true }), sockets: [socket({ process: undefined })] }).problem,
    ).toContain('the kernel itself');
  });

  it.each([
    ['192.0.2.7', true],
    ['::', true],
    ['127.0.0.1', false],
    ['198.51.100.7', false],
    ['::1', false],
  ])('at the address %s', (address, isTaken) => {
    expect(found({ sockets: [socket({ address })] })).toEqual(isTaken ? ['error port.gossip'] : []);
  });

  it('at any address but loopback, where the underlay is not known', () => {
    const at = (address: string) => found({ underlay: undefined, sockets: [socket({ address })] });
    expect(at('198.51.100.7')).toEqual(['error port.gossip']);
    expect(at('127.0.0.1')).toEqual([]);
    expect(at('::1')).toEqual([]);
  });

  it("that this host's agent has are its own, while it runs", () => {
    const process = {
      pid: 5,
      name: 'node',
      command: 'node /usr/local/bin/warren agent -c /etc/warren/warren.yaml',
    };
    expect(found({ sockets: [socket({ process })], agentRuns: true })).toEqual([]);
    expect(only({ sockets: [socket({ process })] }).problem).toContain('another agent');
    expect(found({ sockets: [socket({})], agentRuns: true })).toEqual(['error port.gossip']);
  });

  it('of names are a warning where somebody has them on all addresses', () => {
    const process = { pid: 9, name: 'dnsmasq', command: '/usr/sbin/dnsmasq' };
    const at = (address: string, config?: ReturnType<typeof hostConfig>) =>
      found({ sockets: [socket({ port: 53, address, process })] }, config);
    expect(at('0.0.0.0')).toEqual(['warning port.names']);
    expect(at('::')).toEqual(['warning port.names']);
    expect(at('127.0.0.53')).toEqual([]);
    expect(at('192.0.2.7')).toEqual([]);
    expect(at('0.0.0.0', hostConfig(`${RANGES}dns: {enabled: false}`))).toEqual([]);
  });

  it('of the API count where there is one', () => {
    const api = socket({ protocol: 'tcp', port: 9095, address: '127.0.0.1' });
    expect(found({ sockets: [api] })).toEqual([]);
    expect(found({ sockets: [api] }, hostConfig(`${RANGES}api: {listen: 9095}`))).toEqual(['error port.api']);
  });
});

describe('pod ranges', () => {
  it.each([
    ['10.42.7.1/24', 'error'],
    ['10.42.0.1/16', 'error'],
    ['fd42:0:0:7::1/64', 'error'],
    ['10.0.0.9/8', 'warning'],
  ])('overlap the network of %s', (address, severity) => {
    expect(only(network(hostLink('br0', address, 'bridge')))).toMatchObject({
      check: 'range.overlap',
      severity,
    });
  });

  it('do not, beside it', () => {
    expect(found(network(hostLink('br0', '10.43.0.1/16')))).toEqual([]);
  });

  it('say how to move a network of Docker', () => {
    expect(only(network(hostLink('docker0', '10.42.0.1/24'))).problem).toContain('/etc/docker/daemon.json');
  });

  it('overlap a route, once where an address comes with it; the own ones and default routes are none', () => {
    const routes = [
      { dst: '10.42.9.0/24', gateway: '192.0.2.1', dev: 'eth0' },
      { dst: '10.42.7.0/24', dev: 'br0', protocol: 'kernel' },
      { dst: '10.42.0.0/16', dev: 'warren0', protocol: '87' },
      { dst: '10.42.1.0/24', type: 'unreachable', protocol: '87' },
      { dst: '10.42.1.2', dev: 'wp1234' },
      { dst: 'default', dev: 'eth0' },
    ];
    const links = [hostLink('br0', '10.42.7.1/24'), hostLink('warren0', '10.42.1.1/32')];
    const problems = checkHost(hostFacts({ network: { links, routes } }), hostConfig()).map(
      ({ problem }) => problem,
    );
    expect(problems).toEqual([
      expect.stringContaining('the network 10.42.7.0/24 of br0'),
      expect.stringContaining('the route 10.42.9.0/24 via 192.0.2.1 dev eth0'),
    ]);
  });

  it('overlap a route to one host', () => {
    const routes = [{ dst: '10.42.9.9', dev: 'tun7' }];
    expect(only({ network: { links: [], routes } }).problem).toContain('10.42.9.9/32 dev tun7');
  });
});

describe('the underlay', () => {
  it('has no address', () => {
    const underlay = { problem: 'no address', hint: 'Set one.' };
    expect(only({ underlay })).toMatchObject({ severity: 'error', problem: 'no address. Set one.' });
    // Seeds or an address of a configuration that is yet to be written may tell.
    const none = { ...hostConfig(), cluster: { ...hostConfig().cluster, podCidrs: [] } };
    expect(only({ underlay }, none).severity).toBe('warning');
  });

  it('is too small for IPv6 pods, or for tun.mtu', () => {
    const small = {
      underlay: { address: parseAddress('192.0.2.7'), interfaceName: 'eth0', mtu: 1300 },
    };
    expect(found(small)).toEqual(['error mtu']);
    expect(found(small, hostConfig('cluster: {podCidrs: [10.42.0.0/16]}'))).toEqual([]);
    expect(only({}, hostConfig(`${RANGES}tun: {mtu: 1500}`))).toMatchObject({
      severity: 'warning',
      commands: ['ip link set dev eth0 mtu 1536'],
    });
  });
});

describe('others on this host', () => {
  it.each([
    ['flannel.1', 'flannel'],
    ['cali12ab34cd56e', 'Calico'],
    ['cilium_host', 'Cilium'],
    ['weave', 'Weave Net'],
  ])('%s is an interface of %s', (name, overlay) => {
    expect(only(network(hostLink(name, '198.51.100.1/32'))).problem).toContain(`${overlay} is on this host`);
  });

  it('tunl0 alone is nobody', () => {
    expect(found(network(hostLink('tunl0', '198.51.100.1/32')))).toEqual([]);
  });

  it('have a network of CNI', () => {
    expect(found({ cniConfigurations: ['05-cilium.conflist'] })).toEqual(['note overlay.cni']);
    expect(found({ cniConfigurations: ['10-warren.conflist'] })).toEqual([]);
  });

  it('manage interfaces, and are to leave ours alone', () => {
    expect(found({ managers: { networkManager: 'told', networkd: 'told' } })).toEqual([]);
    const config = hostConfig(`${RANGES}tun: {name: overlay1}`);
    const findings = checkHost(
      hostFacts({ managers: { networkManager: 'untold', networkd: 'untold' } }),
      config,
    );
    expect(findings.map(({ fix }) => fix)).toEqual([
      expect.objectContaining({
        text: '[keyfile]\nunmanaged-devices+=interface-name:overlay1;interface-name:wp*\n',
      }),
      expect.objectContaining({ text: '[Match]\nName=overlay1 wp*\n\n[Link]\nUnmanaged=yes\n' }),
    ]);
  });
});

describe('the order', () => {
  it('has the worst first', () => {
    const all = { ...without('ping'), ...sysctls({ conntrackMax: 1000, arpIgnore: '1' }) };
    expect(found(all)).toEqual([
      'error sysctl.arp_ignore',
      'warning sysctl.nf_conntrack_max',
      'note program.ping',
    ]);
  });
});
