/** NetworkManager and systemd-networkd change interfaces that they find, unless a file tells them to leave these alone. */
import { ATTACHMENT_INTERFACES } from '../host/rules/docker-forwarding.ts';
import type { CheckedConfig, HostFacts } from './facts.ts';
import type { Finding, Fix } from './finding.ts';

type FileFix = Extract<Fix, { type: 'file' }>;

export function checkManagers({ managers }: HostFacts, { tun }: CheckedConfig): Finding[] {
  const attachments = ATTACHMENT_INTERFACES.replace('+', '*');
  return [
    ...finding(managers.networkManager === 'untold', 'NetworkManager', tun.name, attachments, {
      type: 'file',
      path: '/etc/NetworkManager/conf.d/90-warren.conf',
      // NetworkManager.conf(5)
      text: `[keyfile]\nunmanaged-devices+=interface-name:${tun.name};interface-name:${attachments}\n`,
      reload: ['nmcli', 'general', 'reload'],
    }),
    ...finding(managers.networkd === 'untold', 'systemd-networkd', tun.name, attachments, {
      type: 'file',
      // Before files that match all interfaces, which are often called 80-...
      path: '/etc/systemd/network/05-warren.network',
      // systemd.network(5)
      text: `[Match]\nName=${tun.name} ${attachments}\n\n[Link]\nUnmanaged=yes\n`,
      reload: ['networkctl', 'reload'],
    }),
  ];
}

function finding(
  isUntold: boolean,
  program: string,
  tunName: string,
  attachments: string,
  fix: FileFix,
): Finding[] {
  if (!isUntold) return [];
  return [
    {
      check: `manager.${program}`,
      severity: 'warning',
      problem: `${program} runs and is not told to leave ${tunName} and ${attachments} alone: it may take their addresses and routes away`,
      commands: [`printf '${fix.text.replaceAll('\n', '\\n')}' > ${fix.path}`, (fix.reload ?? []).join(' ')],
      fix,
    },
  ];
}
