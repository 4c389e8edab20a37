import { describe, expect, it } from 'vitest';
import { HostCommandError, runCommand } from '../../../src/host/command.ts';
import { ipBatch } from '../../../src/host/ip.ts';

describe('a host command', () => {
  it('gives its output, and takes its input', async () => {
    expect(await runCommand(['cat'], { stdin: 'hello' })).toBe('hello');
    expect(await runCommand(['printf', '%s', '$(id); `id` $HOME'])).toBe('$(id); `id` $HOME');
  });

  it('that does not exist names the package to install', async () => {
    await expect(runCommand(['no-such-program'])).rejects.toMatchObject({
      code: 'TOOL_MISSING',
      message: 'the program no-such-program is not installed',
    });
  });

  it('that fails says which command and what it said', async () => {
    const error: unknown = await runCommand(['ls', '/no/such/folder']).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(HostCommandError);
    expect(error).toMatchObject({
      code: 'HOST_COMMAND_FAILED',
      message: expect.stringMatching(/^`ls \/no\/such\/folder` failed: .*No such file or directory$/),
      exitCode: expect.any(Number),
    });
  });

  it('that does not end is killed', async () => {
    await expect(runCommand(['sleep', '60'], { timeoutMs: 50 })).rejects.toMatchObject({
      message: '`sleep 60` failed: no answer within 50 ms',
    });
  });

  it('of ip never takes an argument that could be two', async () => {
    for (const word of ['a b', 'a\nlink', 'a#', "'a", '']) {
      await expect(ipBatch([['link', 'show', word]])).rejects.toMatchObject({
        code: 'HOST_ARGUMENT_INVALID',
      });
    }
  });
});
