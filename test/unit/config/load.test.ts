import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig, parseConfig } from '../../../src/config/load.ts';
import { WarrenError } from '../../../src/errors.ts';
import { formatAddress, parseAddress } from '../../../src/ip/address.ts';
import { formatPrefix } from '../../../src/ip/prefix.ts';

const minimal = 'cluster: {podCidrs: [10.42.0.0/16]}\n';

/** The problems that `text` is refused with, one a line. */
function problems(text: string, hostName = 'host-a'): string[] {
  try {
    parseConfig(text, 'c.yaml', hostName);
  } catch (error) {
    expect(error).toBeInstanceOf(WarrenError);
    expect((error as WarrenError).code).toBe('CONFIG_INVALID');
    return (error as WarrenError).message.split('\n');
  }
  return [];
}

import { allOffloads } from '../../../src/config/fields.ts';

describe('a valid file', () => {
  it('gets every default', () => {
    expect(parseConfig(minimal, 'c.yaml', 'host-a')).toEqual({
      node: { name: 'host-a', stateDir: '/var/lib/warren', socket: '/run/warren/agent.sock' },
      cluster: {
        name: 'warren',
        podCidrs: [{ range: { family: 4, value: 0x0a2a0000n, length: 16 }, nodePrefixLength: 24 }],
        seeds: [],
        admission: 'open',
        approvers: [],
        keyFile: undefined,
        timing: 'lan',
        leaseTtlSeconds: 86_400,
      },
      underlay: { address: 'auto', gossipPort: 7946 },
      encapsulation: { type: 'vxlan-gpe', port: 4790, vni: 42 },
      egress: { masquerade: false, except: [] },
      kubernetes: {
        enabled: false,
        ipam: 'warren',
        networkPolicies: true,
        nodeName: undefined,
        kubeconfig: undefined,
      },
      dns: { enabled: true },
      tun: { name: 'warren0', mtu: 'auto' },
      datapath: { workers: 'auto', offload: allOffloads(true) },
      staticPeers: [],
      staticPods: [],
      api: {
        socketGroup: undefined,
        readOnlySocket: undefined,
        readOnlyGroup: undefined,
        remoteCapture: false,
        listen: 'auto',
      },
      log: { level: 'info', format: 'text' },
    });
  });

  it('in a Kubernetes cluster takes what is its own from variables, where it does not say it', () => {
    const variables = { WARREN_NODE_NAME: 'worker-1.example', WARREN_HOST_IP: '192.0.2.7' };
    const enabled = `${minimal}\nkubernetes: {enabled: true}\n`;
    const config = parseConfig(enabled, 'c.yaml', 'host-a', variables);
    expect(config.node.name).toBe('worker-1.example');
    expect(config.underlay.address).toEqual(parseAddress('192.0.2.7'));
    expect(config.kubernetes).toEqual({
      enabled: true,
      ipam: 'warren',
      networkPolicies: true,
      nodeName: 'worker-1.example',
      kubeconfig: undefined,
    });
    const said = `${minimal}
node: {name: a}
underlay: {address: 192.0.2.1}
kubernetes: {enabled: true, ipam: kubernetes, networkPolicies: false, nodeName: b, kubeconfig: /etc/k}`;
    expect(parseConfig(said, 'c.yaml', 'host-a', variables)).toMatchObject({
      node: { name: 'a' },
      underlay: { address: parseAddress('192.0.2.1') },
      kubernetes: {
        enabled: true,
        ipam: 'kubernetes',
        networkPolicies: false,
        nodeName: 'b',
        kubeconfig: '/etc/k',
      },
    });
    // A Node may be called what no node can.
    const long = `${'long-'.repeat(20)}name`;
    expect(parseConfig(enabled, 'c.yaml', 'host-a', { WARREN_NODE_NAME: long })).toMatchObject({
      node: { name: 'host-a' },
      kubernetes: { nodeName: long },
    });
    expect(parseConfig(enabled, 'c.yaml', 'host-a', {}).kubernetes.nodeName).toBe('host-a');
    // Elsewhere they say nothing.
    expect(parseConfig(minimal, 'c.yaml', 'host-a', variables)).toMatchObject({
      node: { name: 'host-a' },
      underlay: { address: 'auto' },
      kubernetes: { enabled: false, nodeName: undefined },
    });
    const wrong = { WARREN_NODE_NAME: '$(reboot)', WARREN_HOST_IP: 'x' };
    expect(() => parseConfig(enabled, 'c.yaml', 'host-a', wrong)).toThrow(
      /WARREN_NODE_NAME must be the name of a Node: .*\n.*WARREN_HOST_IP must be an IP address$/,
    );
    expect(() => parseConfig(enabled, 'c.yaml', 'Host_A', {})).toThrow(
      "kubernetes: node.name, Host_A, cannot be a Node's name (set kubernetes.nodeName)",
    );
  });

  it('may say everything', () => {
    const config = parseConfig(
      `
node: {name: node-a, stateDir: /var/lib/w, socket: /run/w/agent.sock}
cluster:
  name: test
  podCidrs: [10.42.0.0/16, "fd42::/48"]
  nodePrefixLengths: [25, 72]
  seeds: ["192.0.2.1:7000", node-b]
  keyFile: /etc/warren/cluster.key
underlay: {gossipPort: 7000, allowFrom: [192.0.2.0/24, "2001:db8::/32"]}
encapsulation: {type: vxlan-gpe, port: 4791, vni: 0}
tun: {name: overlay.1, mtu: 1400}
datapath: {workers: 2}
staticPods: [web, db-1]
api: {listen: "[::1]:9095"}
log: {level: debug, format: json}
`,
      'c.yaml',
    );
    expect(config.cluster.podCidrs.map((range) => range.nodePrefixLength)).toEqual([25, 72]);
    expect(config.underlay.allowFrom?.map(formatPrefix)).toEqual(['192.0.2.0/24', '2001:db8::/32']);
    expect(config.cluster.podCidrs.map(({ range }) => formatPrefix(range))).toEqual([
      '10.42.0.0/16',
      'fd42::/48',
    ]);
    expect(config.cluster.seeds).toEqual([
      { host: '192.0.2.1', port: 7000 },
      { host: 'node-b', port: 7946 },
    ]);
    expect(config.encapsulation).toEqual({ type: 'vxlan-gpe', port: 4791, vni: 0 });
    expect(config.tun).toEqual({ name: 'overlay.1', mtu: 1400 });
    expect(config.api.listen).toEqual({ host: '::1', port: 9095 });
  });

  it('has static peers, whose port defaults to VXLAN-GPE', () => {
    const [peer] = parseConfig(
      `${minimal}staticPeers:\n  - {name: legacy, endpoint: 192.0.2.9, subnets: [10.43.9.0/24, "fd43::/64"]}\n`,
      'c.yaml',
    ).staticPeers;
    expect(peer?.endpoint?.port).toBe(4790);
    expect(formatAddress(peer!.endpoint!.address)).toBe('192.0.2.9');
    expect(peer?.subnets.map(formatPrefix)).toEqual(['10.43.9.0/24', 'fd43::/64']);
  });

  it('takes a bare port as a port of the loopback address', () => {
    expect(parseConfig(`${minimal}api: {listen: 9095}\n`, 'c.yaml').api.listen).toEqual({
      host: '127.0.0.1',
      port: 9095,
    });
  });

  it('is frozen, all of it', () => {
    const config = parseConfig(minimal, 'c.yaml');
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.cluster.podCidrs[0]?.range)).toBe(true);
    expect(() => (config.cluster.seeds as unknown[]).push('x')).toThrow(TypeError);
  });

  it('may use YAML anchors', () => {
    const text = `cluster: {podCidrs: [&range 10.42.0.0/16]}\nstaticPods: &pods [web]\n`;
    expect(parseConfig(text, 'c.yaml').staticPods).toEqual(['web']);
  });
});

describe('a wrong file says where and what', () => {
  const cases: readonly (readonly [what: string, text: string, ...expected: (string | RegExp)[]])[] = [
    ['empty', '', 'c.yaml:1:1: the file is empty (it needs at least cluster.podCidrs)'],
    ['only comments', '# nothing\n', /the file is empty/],
    ['not a mapping', '- a\n', 'c.yaml:1:1: must be a mapping of keys to values, not a list'],
    ['plain text', 'hello\n', 'c.yaml:1:1: must be a mapping of keys to values, not "hello"'],
    ['broken YAML', `${minimal}log: {level: info\n`, /^c\.yaml:3:1: not valid YAML: /],
    ['two documents', `${minimal}---\n${minimal}`, /^c\.yaml:2:1: not valid YAML: .*multiple documents/],
    ['an unknown tag', `${minimal}log: {level: !secret info}\n`, /^c\.yaml:2:14: not valid YAML: .*!secret/],
    [
      'a key twice',
      `${minimal}log: {level: info}\nlog: {level: debug}\n`,
      'c.yaml:3:1: the key log is given twice (keep one of them)',
    ],
    [
      'an unknown section',
      `${minimal}cloister: {}\n`,
      'c.yaml:2:1: cloister: unknown key (did you mean cluster?)',
    ],
    [
      'an unknown key',
      `cluster:\n  podCidrs: [10.42.0.0/16]\n  sedes: [a]\n`,
      'c.yaml:3:3: cluster.sedes: unknown key (did you mean seeds?)',
    ],
    [
      'masquerading that is neither on nor off',
      `${minimal}egress: {masquerade: "yes"}\n`,
      'c.yaml:2:22: egress.masquerade: must be true or false, not "yes"',
    ],
    [
      'an exception that is no prefix',
      `${minimal}egress: {masquerade: true, except: [192.168.1.1]}\n`,
      'c.yaml:2:37: egress.except[0]: "192.168.1.1" is not a prefix like 10.42.0.0/16 or fd42::/48',
    ],
    [
      'a key of a later version',
      `${minimal}datapath: {threads: 2}\n`,
      'c.yaml:2:12: datapath.threads: unknown key (known keys: workers, offload)',
    ],
    [
      'an offload that does not exist',
      `${minimal}datapath: {offload: {tso: false, lro: true}}\n`,
      'c.yaml:2:21: datapath.offload: must be auto, off, or some of tso, uso, udpSegment, udpGro, coalesceTcp, coalesceUdp, checksum with true or false each',
    ],
    [
      'an unknown key in a list',
      `${minimal}staticPeers:\n  - {name: a, endpoint: 192.0.2.9, subnet: [10.43.0.0/24]}\n`,
      'c.yaml:3:5: staticPeers[0].subnets: is missing',
      'c.yaml:3:36: staticPeers[0].subnet: unknown key (did you mean subnets?)',
    ],
    ['no cluster', 'log: {level: info}\n', 'c.yaml:1:1: cluster.podCidrs: is missing'],
    ['no ranges', 'cluster:\n  name: a\n', 'c.yaml:2:3: cluster.podCidrs: is missing'],
    [
      'an empty list of ranges',
      'cluster: {podCidrs: []}\n',
      /^c\.yaml:1:21: cluster\.podCidrs: must name at/,
    ],
    [
      'a key without a value',
      'cluster:\n  podCidrs: [10.42.0.0/16]\n  keyFile:\n',
      /^c\.yaml:3:1[01]: cluster\.keyFile: has no value \(give it one, or remove the line\)$/,
    ],
    ['a section without a value', `${minimal}tun:\n`, /^c\.yaml:2:5: tun: has no value/],
    [
      'text where a list belongs',
      'cluster: {podCidrs: 10.42.0.0/16}\n',
      'c.yaml:1:21: cluster.podCidrs: must be a list, not "10.42.0.0/16"',
    ],
    [
      'a number as text',
      `${minimal}encapsulation: {vni: "7"}\n`,
      /2:22: encapsulation\.vni: must be a number, not "7"/,
    ],
    [
      'text as a number',
      `${minimal}cluster2: 1\nnode: {name: 12}\n`,
      /2:1: cluster2: unknown key \(did you mean cluster\?\)/,
      'c.yaml:3:14: node.name: must be text, not number 12 (put it in quotes)',
    ],
    [
      'a port out of range',
      `${minimal}underlay: {gossipPort: 0}\n`,
      /gossipPort: must be a whole number from 1 to 65535/,
    ],
    ['no range at all', `${minimal}underlay: {allowFrom: []}\n`, /allowFrom: must name a range at least/],
    ['a fraction', `${minimal}encapsulation: {vni: 1.5}\n`, /vni: must be a whole number from 0 to 16777215/],
    [
      'a DSCP of 7 bits',
      `${minimal}encapsulation: {dscp: 64}\n`,
      /dscp: must be copy or a whole number from 0 to 63/,
    ],
    ['a VNI of 25 bits', `${minimal}encapsulation: {vni: 0x1000000}\n`, /from 0 to 16777215/],
    [
      'host bits',
      'cluster: {podCidrs: [10.42.0.1/16]}\n',
      /1:22: cluster\.podCidrs\[0\]: .*did you mean 10\.42\.0\.0\/16/,
    ],
    ['no prefix', 'cluster: {podCidrs: [pods]}\n', /1:22: cluster\.podCidrs\[0\]: "pods" is not a prefix/],
    [
      'two ranges of a family',
      'cluster: {podCidrs: [10.42.0.0/16, 10.43.0.0/16]}\n',
      'c.yaml:1:36: cluster.podCidrs[1]: is a second IPv4 range beside 10.42.0.0/16 (keep one of them)',
    ],
    [
      'a lease time without a unit',
      'cluster: {podCidrs: [10.42.0.0/16], leaseTtl: "90"}\n',
      /leaseTtl: must be a time such as 90s, 30m, 24h or 7d, from 1s to 365d/,
    ],
    [
      'a timing that is none',
      'cluster: {podCidrs: [10.42.0.0/16], timing: wann}\n',
      'c.yaml:1:45: cluster.timing: must be one of lan, wan, local, not "wann" (did you mean wan?)',
    ],
    [
      'lengths for other ranges',
      'cluster: {podCidrs: [10.42.0.0/16], nodePrefixLengths: [24, 64]}\n',
      /1:56: cluster\.nodePrefixLengths: has 2 entries and cluster\.podCidrs has 1/,
    ],
    [
      'a length outside of its range',
      'cluster: {podCidrs: [10.42.0.0/16], nodePrefixLengths: [12]}\n',
      /1:57: cluster\.nodePrefixLengths\[0\]: a node's subnet of \/12 does not fit 10\.42\.0\.0\/16 \(set .* 16 to 30/,
    ],
    [
      'a length that leaves no pod',
      'cluster: {podCidrs: [10.42.0.0/16], nodePrefixLengths: [31]}\n',
      /a node's subnet of \/31 does not fit/,
    ],
    [
      'a range smaller than the default subnet',
      'cluster: {podCidrs: [10.42.0.0/26]}\n',
      /1:22: cluster\.podCidrs\[0\]: a node's subnet of \/24 \(the default\) does not fit 10\.42\.0\.0\/26 \(set .* 26 to 30/,
    ],
    [
      'a range of one address',
      'cluster: {podCidrs: [10.42.0.1/32]}\n',
      /is too small to hold a node and a pod/,
    ],
    [
      'a multicast range',
      'cluster: {podCidrs: ["ff02::/16"]}\n',
      /takes in the multicast addresses, ff00::\/8/,
    ],
    ['everything as a range', 'cluster: {podCidrs: [0.0.0.0/0]}\n', /takes in the "this network" addresses/],
    [
      'a relative path',
      `${minimal}node: {stateDir: state}\n`,
      /2:18: node\.stateDir: must be an absolute path/,
    ],
    [
      'a socket path too long',
      `${minimal}node: {socket: /${'s'.repeat(107)}}\n`,
      /node\.socket: must be at most 107/,
    ],
    ['a node name with a slash', `${minimal}node: {name: a/b}\n`, /2:14: node\.name: must be a host name/],
    [
      'a device name too long',
      `${minimal}tun: {name: warren0123456789}\n`,
      /2:13: tun\.name: must be an interface name/,
    ],
    [
      'an MTU below IPv6',
      `${minimal}tun: {mtu: 1279}\n`,
      /2:12: tun\.mtu: must be auto or a whole number from 1280 to/,
    ],
    ['a word as MTU', `${minimal}tun: {mtu: big}\n`, /2:12: tun\.mtu: must be auto or a whole number/],
    [
      'no workers',
      `${minimal}datapath: {workers: 0}\n`,
      /workers: must be auto or a whole number from 1 to 64/,
    ],
    [
      'a host name as underlay',
      `${minimal}underlay: {address: eth0}\n`,
      /2:21: underlay\.address: must be auto or an IP/,
    ],
    [
      'a seed with a bad port',
      `cluster: {podCidrs: [10.42.0.0/16], seeds: ["a:99999"]}\n`,
      /seeds\[0\]: "a:99999" is not host/,
    ],
    [
      'a seed that is no name',
      `cluster: {podCidrs: [10.42.0.0/16], seeds: ["a b"]}\n`,
      /neither a host name nor an IP/,
    ],
    [
      'a seed that is half an address',
      `cluster: {podCidrs: [10.42.0.0/16], seeds: [192.0.2]}\n`,
      /not an IP address/,
    ],
    [
      'listen without a port',
      `${minimal}api: {listen: localhost}\n`,
      /2:15: api\.listen: must be address:port/,
    ],
    [
      'a group that is none',
      `${minimal}api: {socketGroup: "a:b"}\n`,
      /2:20: api\.socketGroup: must be a group of this host/,
    ],
    [
      'a read-only socket in the place of the control socket',
      `${minimal}api: {readOnlySocket: /run/warren/agent.sock}\n`,
      'c.yaml:2:23: api.readOnlySocket: is node.socket too (give it another path)',
    ],
    [
      'a group for a read-only socket that is not there',
      `${minimal}api: {readOnlyGroup: wheel}\n`,
      /2:22: api\.readOnlyGroup: has nothing to open without api\.readOnlySocket/,
    ],
    [
      'a log level that does not exist',
      `${minimal}log: {level: inof}\n`,
      'c.yaml:2:14: log.level: must be one of trace, debug, info, warn, error, silent, not "inof" (did you mean info?)',
    ],
    ['an upper-case pod', `${minimal}staticPods: [Web]\n`, /2:14: staticPods\[0\]: must be a pod name/],
    [
      'a pod twice',
      `${minimal}staticPods:\n  - web\n  - web\n`,
      'c.yaml:4:5: staticPods[1]: web is listed twice (remove one of them)',
    ],
    [
      'an encapsulation that does not exist',
      `${minimal}encapsulation: {type: vxlan-gp}\n`,
      /2:23: .*did you mean vxlan-gpe\?/,
    ],
    [
      'static peers of a sealed tunnel',
      'cluster: {podCidrs: [10.42.0.0/16], keyFile: /k}\nstaticPeers: [{name: a, endpoint: 192.0.2.9, subnets: [10.9.0.0/24]}]\n',
      /^c\.yaml:2:15: staticPeers\[0\]\.publicKey: is missing, and the encapsulation is wireguard, the default with a cluster key \(give/,
    ],
    [
      'one port for both',
      `${minimal}encapsulation: {port: 7946}\n`,
      /2:23: encapsulation\.port: is underlay\.gossipPort too/,
    ],
    [
      'underlay inside the overlay',
      `${minimal}underlay: {address: 10.42.0.1}\n`,
      /2:21: underlay\.address: 10\.42\.0\.1 lies in 10\.42\.0\.0\/16 of cluster\.podCidrs/,
    ],
    [
      'a seed inside the overlay',
      'cluster: {podCidrs: [10.42.0.0/16], seeds: ["10.42.1.1:7946"]}\n',
      /seeds\[0\]: 10\.42\.1\.1 lies in/,
    ],
    [
      'a seed that would not be heard',
      'cluster: {podCidrs: [10.42.0.0/16], seeds: [192.0.2.1, 198.51.100.1, node-b]}\nunderlay: {allowFrom: [192.0.2.0/24]}\n',
      'c.yaml:1:56: cluster.seeds[1]: 198.51.100.1 is in no range of underlay.allowFrom: this node would not hear it',
    ],
    [
      'an underlay of two families',
      `${minimal}underlay: {address: "2001:db8::1"}\nstaticPeers: [{name: p, endpoint: 192.0.2.9, subnets: [10.43.0.0/24]}]\n`,
      /3:35: staticPeers\[0\]\.endpoint: is IPv4, but 2001:db8::1 of the same underlay is IPv6/,
    ],
    [
      'overlapping subnets of two peers',
      `${minimal}staticPeers:\n- {name: p, endpoint: 192.0.2.9, subnets: [10.43.0.0/16]}\n- {name: q, endpoint: 192.0.2.10, subnets: [10.43.1.0/24]}\n`,
      'c.yaml:4:45: staticPeers[1].subnets[0]: 10.43.1.0/24 overlaps 10.43.0.0/16 of p',
    ],
    [
      'overlapping subnets of one peer',
      `${minimal}staticPeers:\n- {name: p, endpoint: 192.0.2.9, subnets: [10.43.0.0/16, 10.43.0.0/16]}\n`,
      /3:58: staticPeers\[0\]\.subnets\[1\]: 10\.43\.0\.0\/16 overlaps 10\.43\.0\.0\/16 of p/,
    ],
    [
      'peers of one name and one address',
      `${minimal}staticPeers:\n- {name: p, endpoint: 192.0.2.9, subnets: [10.43.0.0/24]}\n- {name: p, endpoint: "192.0.2.9:4791", subnets: [10.44.0.0/24]}\n`,
      /4:10: staticPeers\[1\]\.name: p is the name of another static peer/,
      /4:23: staticPeers\[1\]\.endpoint: 192\.0\.2\.9 is p's address too/,
    ],
    [
      "a peer with this node's name",
      `${minimal}node: {name: p}\nstaticPeers: [{name: p, endpoint: 192.0.2.9, subnets: [10.43.0.0/24]}]\n`,
      /staticPeers\[0\]\.name: is this node's own name/,
    ],
    [
      'a peer that takes the whole range',
      `${minimal}staticPeers: [{name: p, endpoint: 192.0.2.9, subnets: [10.42.0.0/16]}]\n`,
      /subnets\[0\]: covers all of 10\.42\.0\.0\/16 in cluster\.podCidrs/,
    ],
    [
      'a peer inside of its own subnet',
      `${minimal}staticPeers: [{name: p, endpoint: 192.0.2.9, subnets: [192.0.2.0/24]}]\n`,
      /endpoint: 192\.0\.2\.9 lies in 192\.0\.2\.0\/24 of p's subnets/,
    ],
    [
      'a peer without subnets',
      `${minimal}staticPeers: [{name: p, endpoint: 192.0.2.9, subnets: []}]\n`,
      /must name at least one subnet/,
    ],
    [
      'a peer with a default route',
      `${minimal}staticPeers: [{name: p, endpoint: 192.0.2.9, subnets: ["::/0"]}]\n`,
      /takes in reserved addresses/,
    ],
  ];

  it.each(cases.map(([what, text, ...expected]) => ({ what, text, expected })))(
    '$what',
    ({ text, expected }) => {
      const found = problems(text);
      expect(found).toHaveLength(expected.length);
      expected.forEach((line, i) => {
        if (typeof line === 'string') expect(found[i]).toBe(line);
        else expect(found[i]).toMatch(line);
      });
    },
  );

  it('all at once, in the order of the file', () => {
    const found = problems(`
node: {name: "-"}
cluster:
  podCidrs: [10.42.0.0/16, 10.43.0.0/16]
  nodePrefixLengths: [24]
encapsulation: {vni: -1, prot: 1}
staticPods: [web, web]
lag: {}
`);
    expect(found.map((line) => line.split(':').slice(1, 4).join(':'))).toEqual([
      '2:14: node.name',
      '4:28: cluster.podCidrs[1]',
      '5:22: cluster.nodePrefixLengths',
      '6:22: encapsulation.vni',
      '6:26: encapsulation.prot',
      '7:19: staticPods[1]',
      '8:1: lag',
    ]);
  });

  it('refuses a host name that cannot be a node name, unless the file gives one', () => {
    expect(problems(minimal, '')[0]).toMatch(
      /^c\.yaml:1:1: node: this host's name, "", cannot be .*set node\.name/,
    );
    expect(problems(`${minimal}node: {name: a}\n`, '')).toEqual([]);
  });

  it('does not expand a file that grows without end', () => {
    const levels = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`);
    expect(problems(`a0: &a0 [x]\n${levels.join('\n')}\n`)[0]).toMatch(/not valid YAML: .*alias/i);
  });

  it('seals the tunnel where there is a cluster key, unless it is told otherwise', () => {
    const withKey = 'cluster: {podCidrs: [10.42.0.0/16], keyFile: /k}\n';
    const of = (text: string) => parseConfig(text, 'c.yaml').encapsulation;
    expect(of(withKey)).toMatchObject({ type: 'wireguard', port: 51_820 });
    expect(of(`${withKey}encapsulation: {port: 4711}\n`)).toMatchObject({ type: 'wireguard', port: 4_711 });
    expect(of(`${withKey}encapsulation: {type: vxlan-gpe}\n`)).toMatchObject({
      type: 'vxlan-gpe',
      port: 4_790,
    });
    expect(of(minimal)).toMatchObject({ type: 'vxlan-gpe', port: 4_790 });
    expect(of(`${minimal}encapsulation: {type: wireguard}\n`)).toMatchObject({ type: 'wireguard' });
    const moving = of(`${withKey}encapsulation: {accept: vxlan-gpe}\n`);
    expect(moving).toMatchObject({ type: 'wireguard', accept: 'vxlan-gpe', port: 4_790, vni: 42 });
    expect(() => of(`${minimal}encapsulation: {accept: vxlan-gpe}\n`)).toThrow(
      /encapsulation\.accept: is of wireguard/,
    );
  });

  it('has post-quantum keys with what is sealed, unless it is told otherwise', () => {
    const withKey = 'cluster: {podCidrs: [10.42.0.0/16], keyFile: /k}\n';
    const of = (text: string) => parseConfig(text, 'c.yaml').encapsulation.postQuantum;
    expect(of(withKey)).toBe('on');
    for (const mode of ['on', 'off', 'require'] as const)
      expect(of(`${withKey}encapsulation: {postQuantum: ${mode}}\n`)).toBe(mode);
    expect(of(minimal)).toBeUndefined();
    expect(() => of(`${minimal}encapsulation: {postQuantum: on}\n`)).toThrow(/postQuantum: is of wireguard/);
    expect(() => of(`${withKey}encapsulation: {accept: vxlan-gpe, postQuantum: require}\n`)).toThrow(
      /postQuantum: cannot be required where clear text is accepted/,
    );
    expect(() => of(`${withKey}encapsulation: {postQuantum: yes}\n`)).toThrow(/postQuantum/);
  });

  it('has static peers with keys', () => {
    const key = Buffer.alloc(32, 7).toString('base64');
    const peer = `{name: a, endpoint: 192.0.2.9, subnets: [10.9.0.0/24], publicKey: ${key}, presharedKey: ${key}, persistentKeepalive: 25}`;
    const text = `${minimal}encapsulation: {type: wireguard}\nstaticPeers: [${peer}]\n`;
    const { staticPeers } = parseConfig(text, 'c.yaml');
    expect(staticPeers[0]).toMatchObject({ persistentKeepaliveSeconds: 25, endpoint: { port: 51_820 } });
    expect(staticPeers[0]!.publicKey).toEqual(new Uint8Array(32).fill(7));
    expect(staticPeers[0]!.presharedKey).toEqual(new Uint8Array(32).fill(7));
    const clear = () => parseConfig(`${minimal}staticPeers: [${peer}]\n`, 'c.yaml');
    expect(clear).toThrow(
      /publicKey: is of wireguard, and the encapsulation is vxlan-gpe, the default without a cluster key/,
    );
    expect(() => parseConfig(text.replaceAll(key, 'abc'), 'c.yaml')).toThrow(/publicKey: must be a key as/);
  });

  it('tells static peers with keys apart by them, wherever they are', () => {
    const key = (byte: number) => Buffer.alloc(32, byte).toString('base64');
    const peer = (name: string, byte: number, more = '') =>
      `{name: ${name}, subnets: [10.${byte}.0.0/24, "fd${byte}::/64"], publicKey: ${key(byte)}${more}}`;
    const of = (...peers: readonly string[]) =>
      parseConfig(
        `${minimal}encapsulation: {type: wireguard}\nstaticPeers: [${peers.join(', ')}]\n`,
        'c.yaml',
      ).staticPeers;
    const behindNat = ', endpoint: "192.0.2.9:1"';
    const [a, b, c] = of(peer('a', 10), peer('b', 11, behindNat), peer('c', 12, behindNat));
    expect([a!.endpoint, b!.endpoint!.port, c!.subnets.length]).toEqual([undefined, 1, 2]);
    const twice = peer('c', 12).replaceAll(key(12), key(10));
    expect(() => of(peer('a', 10), twice)).toThrow(/staticPeers\[1\]\.publicKey: is a's key too/);
    expect(() =>
      parseConfig(`${minimal}staticPeers: [{name: a, subnets: [10.9.0.0/24]}]\n`, 'c.yaml'),
    ).toThrow(/staticPeers\[0\]\.endpoint: is missing \(only a peer of wireguard/);
  });

  it('says that a key file stays a key file through an alias', () => {
    const text = 'cluster: &c {podCidrs: [10.42.0.0/16], keyFile: /k}\nencapsulation: {type: vxlan-gpe}\n';
    expect(parseConfig(text, 'c.yaml').cluster.keyFile).toBe('/k');
  });
});

describe('loadConfig', () => {
  const folder = mkdtempSync(join(tmpdir(), 'warren-config-test-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('reads a file and names it in its errors', () => {
    const path = join(folder, 'a.yaml');
    writeFileSync(path, minimal);
    expect(loadConfig(path).cluster.name).toBe('warren');
    writeFileSync(path, 'x: 1\n');
    expect(() => loadConfig(path)).toThrow(`${path}:1:1: x: unknown key`);
  });

  it.each([
    ['missing', 'nothing.yaml', 'there is no such file'],
    ['a folder', 'folder', 'it is a folder'],
    ['not text', 'binary', 'it is not UTF-8 text'],
    ['huge', 'huge', 'it is larger than'],
  ])('says in one line that the file is %s', (_what, name, reason) => {
    mkdirSync(join(folder, 'folder'), { recursive: true });
    writeFileSync(join(folder, 'binary'), Uint8Array.of(0xff, 0xfe, 0x00));
    writeFileSync(join(folder, 'huge'), '#'.repeat(1024 * 1024 + 1));
    const path = join(folder, name);
    let error: unknown;
    try {
      loadConfig(path);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'CONFIG_UNREADABLE' });
    expect((error as Error).message).toContain(`cannot read the configuration ${path}: ${reason}`);
    expect((error as Error).message).not.toContain('\n');
  });
});
