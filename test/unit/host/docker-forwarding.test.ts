import { describe, expect, it } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import { DockerForwarding, jumpScript } from '../../../src/host/rules/docker-forwarding.ts';
import type { FilterView } from '../../../src/host/rules/filter-view.ts';

/** As `iptables -S` prints what Docker 20.10 makes, with two networks. */
const DOCKER_20 = `-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N DOCKER
-N DOCKER-ISOLATION-STAGE-1
-N DOCKER-ISOLATION-STAGE-2
-N DOCKER-USER
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -o br-0123456789ab -j DOCKER
-A DOCKER-USER -j RETURN`.split('\n');

/** The rules that `lines` leave, in a filter that had `rules`. */
function restored(rules: readonly string[], script: string): string[] {
  const after = [...rules];
  for (const line of script.split('\n')) {
    const chain = /^:(\S+) - /.exec(line)?.[1];
    if (chain !== undefined && !after.includes(`-N ${chain}`)) after.push(`-N ${chain}`);
    if (line.startsWith('-A ')) after.push(line);
    if (line.startsWith('-I ')) after.push(line.replace('-I', '-A'));
  }
  return after;
}

describe('the jump in DOCKER-USER', () => {
  it("accepts what pods send and get, and leaves Docker's own networks to Docker", () => {
    expect(jumpScript('warren0', DOCKER_20)).toBe(`*filter
:WARREN-warren0 - [0:0]
-A WARREN-warren0 -o br-0123456789ab -j RETURN
-A WARREN-warren0 -o docker0 -j RETURN
-A WARREN-warren0 -i warren0 -j ACCEPT
-A WARREN-warren0 -o warren0 -j ACCEPT
-A WARREN-warren0 -i wp+ -j ACCEPT
-A WARREN-warren0 -o wp+ -j ACCEPT
-I DOCKER-USER -j WARREN-warren0
COMMIT
`);
  });

  it('is made once, and anew when Docker has another network', () => {
    const done = restored(DOCKER_20, jumpScript('warren0', DOCKER_20)!);
    expect(jumpScript('warren0', done)).toBeUndefined();
    const more = jumpScript('warren0', [...done, '-A DOCKER-BRIDGE -o mynet -j DOCKER']);
    expect(more).toContain('-A WARREN-warren0 -o mynet -j RETURN');
    expect(more).not.toContain('-I DOCKER-USER');
  });

  it('stays behind rules that somebody put before it', () => {
    const done = restored(DOCKER_20, jumpScript('warren0', DOCKER_20)!);
    const ordered = [
      ...done.slice(0, 12),
      '-A DOCKER-USER -i wp+ -d 192.0.2.7/32 -j DROP',
      ...done.slice(12),
    ];
    expect(jumpScript('warren0', ordered)).toBeUndefined();
  });

  it('is not made where there is no Docker', () => {
    expect(jumpScript('warren0', ['-P FORWARD DROP'])).toBeUndefined();
  });
});

describe('forwarding past Docker', () => {
  /** The nf_tables of a kernel in which `rules()` of iptables-nft are. */
  const viewOf = (rules: () => readonly string[]) =>
    ({
      has: (family: unknown, _table: string, chain: string) =>
        family === 4 && rules().includes(`-N ${chain}`),
      mentions: (_family: unknown, _table: string, chain: string, ...words: string[]) =>
        words.every((word) => rules().some((rule) => rule.startsWith(`-A ${chain} `) && rule.includes(word))),
    }) as unknown as FilterView;

  it("runs the program of Docker's variant, and counts what was lost", async () => {
    let rules = DOCKER_20;
    const ran: string[] = [];
    const docker = new DockerForwarding({
      tunName: 'warren0',
      view: viewOf(() => rules),
      run: async (argv, { stdin }) => {
        ran.push(argv.join(' '));
        if (argv[0] === 'iptables-nft') return rules.join('\n');
        rules = restored(rules, stdin!);
        return '';
      },
    });
    expect(docker.isRight()).toBe(false);
    expect(await docker.ensure()).toBe(0);
    expect(ran).toEqual(['iptables-nft -w -S', 'iptables-nft-restore -w --noflush']);
    expect(docker.isRight()).toBe(true);
    expect(await docker.ensure()).toBe(0);
    rules = DOCKER_20;
    expect(docker.isRight()).toBe(false);
    expect(await docker.ensure()).toBe(1);
    expect(docker.problems()).toEqual([]);
  });

  it('says what is missing where there is no iptables, or only the other one', async () => {
    const missing = new WarrenError('TOOL_MISSING', 'the program iptables is not installed', {
      hint: 'Install it.',
    });
    const none = new DockerForwarding({
      tunName: 'warren0',
      view: viewOf(() => DOCKER_20),
      run: () => Promise.reject(missing),
    });
    expect(await none.ensure()).toBe(0);
    expect(none.problems()).toEqual([
      'Docker drops what pods forward, and nothing could be put into its chain DOCKER-USER: ' +
        'the program iptables is not installed. Install it.',
    ]);
    await none.remove();
    const other = new DockerForwarding({
      tunName: 'warren0',
      view: viewOf(() => DOCKER_20),
      run: async () => '-P FORWARD ACCEPT',
    });
    await other.ensure();
    expect(other.problems()[0]).toContain('iptables does not show the rules');
  });
});
