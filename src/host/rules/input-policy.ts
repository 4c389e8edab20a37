/** The policy of iptables' chain INPUT: whether it drops what pods ask this node, which answers names to them (src/dns). */
import type { Family } from '../../ip/address.ts';
import { ATTACHMENT_INTERFACES } from './docker-forwarding.ts';
import type { FilterView } from './filter-view.ts';

/** What drops pods' questions, and what to type; undefined if they pass. */
export function inputProblem(
  family: Family,
  view: Pick<FilterView, 'has' | 'mentions' | 'dropsByDefault'>,
): { readonly problem: string; readonly commands: readonly string[] } | undefined {
  if (!view.dropsByDefault(family, 'filter', 'INPUT')) return undefined;
  const [userChain, ufwChain] =
    family === 4 ? ['ufw-user-input', 'ufw-before-input'] : ['ufw6-user-input', 'ufw6-before-input'];
  const hasUfw = view.has(family, 'filter', ufwChain);
  // Whoever has a rule for these interfaces knows of them.
  if (view.mentions(family, 'filter', hasUfw ? userChain : 'INPUT', ATTACHMENT_INTERFACES.slice(0, -1)))
    return undefined;
  if (hasUfw) {
    return {
      problem: "ufw drops pods' questions for names",
      commands: [`ufw allow in on ${ATTACHMENT_INTERFACES} to any port 53`],
    };
  }
  const program = family === 4 ? 'iptables' : 'ip6tables';
  return {
    problem: `${program} drops pods' questions for names: the policy of its chain INPUT is DROP`,
    commands: ['udp', 'tcp'].map(
      (protocol) => `${program} -I INPUT -i ${ATTACHMENT_INTERFACES} -p ${protocol} --dport 53 -j ACCEPT`,
    ),
  };
}
