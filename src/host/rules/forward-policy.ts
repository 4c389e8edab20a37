/** The policy of iptables' chain FORWARD: whether it drops what pods forward, who has set it, and what lets pods through. */
import type { Family } from '../../ip/address.ts';
import { ATTACHMENT_INTERFACES, type DockerForwarding } from './docker-forwarding.ts';
import type { FilterView } from './filter-view.ts';

export interface ForwardPolicy {
  readonly family: Family;
  readonly drops: boolean;
  /** Docker's chain for the rules of others is asked first. */
  readonly hasDocker: boolean;
  /** What comes through that chain is accepted before the others are asked. */
  readonly isLedPastDocker: boolean;
  readonly hasUfw: boolean;
  /** Rules of ufw's administrator, or of FORWARD itself, name the interfaces. */
  readonly isLetThrough: boolean;
}

export interface ForwardSources {
  readonly tunName: string;
  readonly view: Pick<FilterView, 'has' | 'mentions' | 'dropsByDefault'>;
  readonly docker: Pick<DockerForwarding, 'leads'>;
}

export function readForwardPolicy(family: Family, { view, docker, tunName }: ForwardSources): ForwardPolicy {
  if (!view.dropsByDefault(family, 'filter', 'FORWARD')) {
    // Nothing else matters, and on most hosts there is nothing else to ask.
    return {
      family,
      drops: false,
      hasDocker: false,
      isLedPastDocker: false,
      hasUfw: false,
      isLetThrough: true,
    };
  }
  const interfaces = [tunName, ATTACHMENT_INTERFACES.slice(0, -1)];
  const [userChain, forwardChain] =
    family === 4 ? ['ufw-user-forward', 'ufw-before-forward'] : ['ufw6-user-forward', 'ufw6-before-forward'];
  const hasDocker = view.mentions(family, 'filter', 'FORWARD', 'DOCKER-USER');
  const hasUfw = view.has(family, 'filter', forwardChain);
  return {
    family,
    drops: true,
    hasDocker,
    isLedPastDocker: hasDocker && docker.leads(family),
    hasUfw,
    isLetThrough: view.mentions(family, 'filter', hasUfw ? userChain : 'FORWARD', ...interfaces),
  };
}

/** What drops pods' packets, and what to type; undefined if they pass. */
export function forwardProblem(
  { family, drops, isLedPastDocker, hasUfw, isLetThrough }: ForwardPolicy,
  tunName: string,
): { readonly problem: string; readonly commands: readonly string[] } | undefined {
  if (!drops || isLedPastDocker || isLetThrough) return undefined;
  const program = family === 4 ? 'iptables' : 'ip6tables';
  if (hasUfw) {
    return {
      problem: 'ufw drops what pods send and get',
      commands: interfacesOf(tunName).flatMap((name) => [
        `ufw route allow in on ${name}`,
        `ufw route allow out on ${name}`,
      ]),
    };
  }
  return {
    problem: `${program} drops what pods send and get: the policy of its chain FORWARD is DROP`,
    commands: interfacesOf(tunName).flatMap((name) => [
      `${program} -I FORWARD -i ${name} -j ACCEPT`,
      `${program} -I FORWARD -o ${name} -j ACCEPT`,
    ]),
  };
}

export function hasFirewalld(view: Pick<FilterView, 'has'>): boolean {
  return view.has('inet', 'firewalld', 'filter_FORWARD');
}

/** The TUN device and the attachments' interfaces, as iptables, ufw and firewalld write them. */
export function interfacesOf(tunName: string): string[] {
  return [tunName, ATTACHMENT_INTERFACES];
}
