/** Rules of policies in a kernel: made, put back, counted, taken away. What they do to packets is in test/e2e. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LinuxPolicyRules } from '../../../src/host/rules/policy-rules.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { NetlinkConversation } from '../../../src/netlink/conversation.ts';
import { compilePolicies } from '../../../src/policy/compile.ts';
import { parsePolicies } from '../../../src/policy/documents.ts';
import { renderRules } from '../../../src/policy/nft/render.ts';
import { NETLINK_NETFILTER } from '../../../src/sys/constants.ts';
import { NetlinkSocket } from '../../../src/sys/netlink-socket.ts';
import { enterOwnNetns } from '../../helpers/own-netns.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

const DOCUMENT = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {ingress: [{from: [{podSelector: {}}], ports: [{port: 80}, {port: 53, protocol: UDP}]}]}
`;

function stateFor(tunName: string, ...addresses: string[]) {
  const pods = addresses.map((address) => ({
    ...{ namespace: 'default', labels: {}, ports: [], hostNetwork: false },
    addresses: [parseAddress(address)],
  }));
  const local = [{ interfaceName: 'wp1', pod: pods[0]! }];
  const input = { pods, namespaces: [], policies: parsePolicies(DOCUMENT, 'test') };
  return renderRules(compilePolicies(input, local), { tunName, podRanges: [parsePrefix('10.42.0.0/16')] });
}

describeUnless(lacking('root', 'nft'), 'rules of policies', () => {
  let socket: NetlinkSocket;
  const rulesOf = (tunName: string) => new LinuxPolicyRules({ tunName }, new NetlinkConversation(socket));
  const nft = (...words: string[]) => execFileSync('nft', words, { encoding: 'utf8' });

  beforeAll(() => {
    enterOwnNetns();
    socket = NetlinkSocket.open(NETLINK_NETFILTER);
  });
  afterAll(() => socket.close());

  it('are made, left to the next run, put back whatever is flushed, and taken away without others', async () => {
    const other = rulesOf('warren01');
    await other.apply(stateFor('warren01', '10.42.9.2'));
    const others = nft('list', 'table', 'inet', 'warren');
    const first = rulesOf('warren0');
    expect([first.isRight(), (await first.left()).size, first.counts().size]).toEqual([true, 0, 0]);
    await first.apply(stateFor('warren0', '10.42.1.2', '10.42.1.3'));
    expect([...first.counts()]).toEqual([['denied_in_wp1', 0]]);

    const next = rulesOf('warren0');
    const pods = [...(await next.left())].find(([name]) => /policy_warren0_pods4_/.test(name));
    expect(pods![1].toSorted()).toEqual(['10.42.1.2', '10.42.1.3']);
    await next.apply(stateFor('warren0', '10.42.1.2'));
    for (const damage of [
      ['flush', 'chain', 'inet', 'warren', 'policy_warren0_forward'],
      // One rule of one pod, which the hook's own rules say nothing of.
      ['flush', 'chain', 'inet', 'warren', 'policy_warren0_in_wp1'],
      ['flush', 'table', 'inet', 'warren'],
      ['delete', 'table', 'inet', 'warren'],
    ]) {
      expect([next.isRight(), await next.repair()]).toEqual([true, false]);
      nft(...damage);
      expect([next.isRight(), await next.repair(), next.isRight()]).toEqual([false, true, true]);
    }
    expect([other.isRight(), await other.repair()]).toEqual([false, true]);
    await next.apply({ sets: new Map(), chains: new Map() });
    expect(nft('list', 'table', 'inet', 'warren')).toBe(others);
    await other.remove();
    expect(nft('list', 'table', 'inet', 'warren')).toBe('table inet warren {\n}\n');
  });

  it('say what they counted, by rule, and who was denied', async () => {
    const rules = rulesOf('warren0');
    expect([await rules.denied('denied'), await rules.rulesOf('wp1', 'in')]).toEqual([[], []]);
    await rules.apply(stateFor('warren0', '10.42.1.2'));
    const counted = await rules.rulesOf('wp1', 'in');
    expect(counted).toEqual(Array(4).fill({ comment: 'default/web ingress[0]', packets: 0 }));
    expect(await rules.rulesOf('wp1', 'out')).toEqual([]);
    const ends = { source: '192.0.2.1', destination: '10.42.1.2', family: 4, packets: 0 };
    for (const [what, protocol, port] of [
      ['tcp . 22', 'tcp', 22],
      ['udp . 53', 'udp', 53],
      ['icmp . 0', 'icmp', 0],
    ] as const) {
      nft(
        'add',
        'element',
        'inet',
        'warren',
        'policy_warren0_denied4',
        `{ 192.0.2.1 . 10.42.1.2 . ${what} }`,
      );
      expect(await rules.denied('denied')).toContainEqual({
        ...{ ...ends, protocol, port },
        ageSeconds: expect.any(Number),
      });
    }
    for (const { ageSeconds } of await rules.denied('denied')) expect(ageSeconds).toBeLessThan(60);
    expect(await rules.denied('trial')).toEqual([]);
    await rules.remove();
  });
});
