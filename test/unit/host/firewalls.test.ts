import { describe, expect, it } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import { HostCommandError } from '../../../src/host/command.ts';
import { Firewalls } from '../../../src/host/rules/firewalls.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

/** Chains as `family table chain`, with the words that their rules have; `!` before one that drops by default. */
function firewalls(chains: Record<string, string>, leads = false) {
  const ran: string[] = [];
  const trusted = new Set<string>();
  const clock = new VirtualClock();
  const state = { chains, failure: undefined as Error | undefined };
  const find = (...place: unknown[]) => state.chains[place.join(' ')];
  const rules = new Firewalls({
    tunName: 'warren0',
    answersNames: true,
    clock,
    docker: { leads: () => leads },
    view: {
      has: (...place) => find(...place) !== undefined,
      dropsByDefault: (...place) => find(...place)?.startsWith('!') ?? false,
      mentions: (family, table, chain, ...words) =>
        words.every((word) => find(family, table, chain)?.includes(word)),
    },
    run: async (argv) => {
      ran.push(argv.join(' '));
      if (state.failure) throw state.failure;
      const [, verb, name] = /^--(query|add|remove)-interface=(.*)$/.exec(argv.at(-1)!)!;
      if (verb === 'add') trusted.add(name!);
      else if (verb === 'remove') trusted.delete(name!);
      else if (!trusted.has(name!)) throw new HostCommandError(argv.join(' '), 1, '', 'no', undefined);
      return '';
    },
  });
  return { rules, ran, trusted, clock, state };
}

const FIREWALLD = { 'inet firewalld filter_FORWARD': '' };

describe('firewalld', () => {
  it('is told to trust the interfaces, once a minute at the most, and no longer when the agent is removed', async () => {
    const { rules, ran, trusted, clock } = firewalls(FIREWALLD);
    expect(await rules.ensure()).toBe(0);
    expect(ran).toEqual([
      'firewall-cmd --zone=trusted --query-interface=warren0',
      'firewall-cmd --zone=trusted --add-interface=warren0',
      'firewall-cmd --zone=trusted --query-interface=wp+',
      'firewall-cmd --zone=trusted --add-interface=wp+',
    ]);
    trusted.clear();
    expect(await rules.ensure()).toBe(0);
    expect(ran).toHaveLength(4);
    await clock.run(60_000);
    expect(await rules.ensure()).toBe(2);
    expect([...trusted]).toEqual(['warren0', 'wp+']);
    await rules.remove();
    expect([...trusted]).toEqual([]);
    expect(rules.problems()).toEqual([]);
  });

  it('that cannot be told is named, with what to type', async () => {
    const { rules, state, clock } = firewalls(FIREWALLD);
    state.failure = new WarrenError('TOOL_MISSING', 'the program firewall-cmd is not installed');
    await rules.ensure();
    expect(rules.problems()).toEqual([
      'firewalld drops what pods send and get, and could not be told otherwise ' +
        '(the program firewall-cmd is not installed). Run: firewall-cmd --zone=trusted --add-interface=warren0; ' +
        'firewall-cmd --zone=trusted --add-interface=wp+',
    ]);
    await rules.remove();
    state.failure = undefined;
    await clock.run(60_000);
    await rules.ensure();
    expect(rules.problems()).toEqual([]);
  });
});

describe('a firewall that drops what is forwarded', () => {
  const UFW = { '4 filter FORWARD': '! ufw-before-forward', '4 filter ufw-before-forward': '' };

  it('is nobody where there is none', async () => {
    const { rules, ran } = firewalls({ '4 filter FORWARD': '' });
    await rules.ensure();
    expect([...rules.problems(), ...ran]).toEqual([]);
  });

  it('is named with what to type if it is ufw, until that is done', () => {
    const { rules, state } = firewalls(UFW);
    expect(rules.problems()).toEqual([
      'ufw drops what pods send and get. Run: ufw route allow in on warren0; ufw route allow out on warren0; ' +
        'ufw route allow in on wp+; ufw route allow out on wp+',
    ]);
    state.chains = { ...UFW, '4 filter ufw-user-forward': 'warren0 wp' };
    expect(rules.problems()).toEqual([]);
  });

  it('is named for each family if it is iptables, until that is done', () => {
    const { rules, state } = firewalls({ '4 filter FORWARD': '!', '6 filter FORWARD': '!' });
    expect(rules.problems()).toEqual([
      expect.stringMatching(/^iptables drops .* Run: iptables -I FORWARD -i warren0 -j ACCEPT; /),
      expect.stringMatching(/^ip6tables drops .* Run: ip6tables -I FORWARD -i warren0 -j ACCEPT; /),
    ]);
    state.chains = { '4 filter FORWARD': '! warren0 wp', '6 filter FORWARD': '' };
    expect(rules.problems()).toEqual([]);
  });

  it("does not matter where Docker's chain leads past it", () => {
    const chains = { ...UFW, '4 filter FORWARD': '! DOCKER-USER ufw-before-forward' };
    expect(firewalls(chains, true).rules.problems()).toEqual([]);
    expect(firewalls(chains, false).rules.problems()).toHaveLength(1);
    // Docker that has gone over to its nftables backend leaves DOCKER-USER without a jump to it.
    expect(firewalls({ '4 filter FORWARD': '!' }, true).rules.problems()).toHaveLength(1);
  });
});

describe('a firewall that drops what comes in', () => {
  const UFW = { '4 filter INPUT': '! ufw-before-input', '4 filter ufw-before-input': '' };

  it('is named where pods ask this node for names, until a rule names their interfaces', () => {
    expect(firewalls(UFW).rules.problems()).toEqual([
      "ufw drops pods' questions for names. Run: ufw allow in on wp+ to any port 53",
    ]);
    expect(firewalls({ ...UFW, '4 filter ufw-user-input': 'wp' }).rules.problems()).toEqual([]);
    expect(firewalls({ '6 filter INPUT': '!' }).rules.problems()).toEqual([
      "ip6tables drops pods' questions for names: the policy of its chain INPUT is DROP. Run: " +
        'ip6tables -I INPUT -i wp+ -p udp --dport 53 -j ACCEPT; ip6tables -I INPUT -i wp+ -p tcp --dport 53 -j ACCEPT',
    ]);
    expect(firewalls({ '4 filter INPUT': '! wp' }).rules.problems()).toEqual([]);
    expect(firewalls({ '4 filter INPUT': '' }).rules.problems()).toEqual([]);
  });
});
