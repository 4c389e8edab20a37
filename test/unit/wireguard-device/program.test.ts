/** The arguments of wireguard-go. */
import { describe, expect, it } from 'vitest';
import { parseArguments, runProgram } from '../../../src/wireguard-device/program.ts';

const run = (name: string, foreground: boolean) => ({ kind: 'run', name, foreground });

describe('arguments', () => {
  it.each([
    [['wg0'], {}, run('wg0', false)],
    [['-f', 'wg0'], {}, run('wg0', true)],
    [['--foreground', 'wg0'], {}, run('wg0', true)],
    [['wg0'], { WG_PROCESS_FOREGROUND: '1' }, run('wg0', true)],
    [['--version'], {}, { kind: 'version' }],
    [[], {}, { kind: 'usage' }],
    [['-f'], {}, { kind: 'usage' }],
    [['--help'], {}, { kind: 'usage' }],
    [['wg0', 'wg1'], {}, { kind: 'usage' }],
    [['wg0', '-f'], {}, { kind: 'usage' }],
  ])('%j with %j', (argv, env, expected) => {
    expect(parseArguments(argv, env)).toEqual(expected);
  });

  it('are answered on standard output or standard error', async () => {
    const said: string[] = [];
    const io = {
      env: {},
      out: (text: string) => void said.push(`out ${text}`),
      err: (text: string) => void said.push(`err ${text}`),
    };
    expect(await runProgram(['--version'], io)).toBe(0);
    expect(await runProgram([], io)).toBe(2);
    const bad = { ...io, env: { WG_PROCESS_FOREGROUND: '1', WG_TUN_FD: 'x' } };
    expect(await runProgram(['wg0'], bad)).toBe(1);
    expect(said).toEqual([
      expect.stringMatching(/^out warren-wireguard \d+\.\d+/),
      expect.stringMatching(/^err usage: /),
      'err warren-wireguard: WG_TUN_FD=x is no descriptor\n',
    ]);
  });
});
