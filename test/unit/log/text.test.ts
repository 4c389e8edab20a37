import { expect, it } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import { createLog } from '../../../src/log/logger.ts';
import { textLine } from '../../../src/log/text.ts';

/** What the text log shows of what `write` logs, without the time. */
function shown(
  write: (log: ReturnType<typeof createLog>['logger']) => void,
  format: 'text' | 'json' = 'text',
): string {
  let text = '';
  const sink = {
    write(bytes: Uint8Array, offset: number) {
      text += Buffer.from(bytes.subarray(offset)).toString();
      return bytes.length - offset;
    },
    waitForRoom: () => {},
  };
  write(createLog({ level: 'info', format }, sink).logger);
  return text.replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z /gm, '');
}

it('a line has its fields, quoted where they need it', () => {
  expect(shown((log) => log.info({ node: 'node-b', why: 'a "b"', count: 3 }, 'node is alive'))).toBe(
    'INFO  node is alive node=node-b why="a \\"b\\"" count=3\n',
  );
});

it('an error has its code, its hint and its causes', () => {
  const cause = Object.assign(new Error('read failed'), { code: 'EBADFD', syscall: 'read' });
  const err = new WarrenError('TUN_LOST', 'the TUN device is gone', { hint: 'Start it again.', cause });
  expect(shown((log) => log.fatal({ err, worker: 0 }, 'the agent cannot go on'))).toBe(
    `FATAL the agent cannot go on worker=0 error="the TUN device is gone" code=TUN_LOST
    hint: Start it again.
    caused by: "read failed" code=EBADFD
`,
  );
  // A hint that is said beside the error is not said twice.
  expect(shown((log) => log.error({ err, hint: err.hint }, 'x')).match(/Start it again/g)).toHaveLength(1);
});

it('a bug has the places in the code, and so has one that is a cause', () => {
  const bug = new TypeError('x is undefined');
  const text = shown((log) => log.error({ err: bug }, 'the control API failed'));
  expect(text).toMatch(/^ERROR the control API failed error="x is undefined"\n {4}at .*text\.test\.ts:\d+/);
  const wrapped = shown((log) =>
    log.error({ err: new WarrenError('TUN_LOST', 'gone', { cause: bug }) }, 'x'),
  );
  expect(wrapped).toMatch(/error=gone code=TUN_LOST\n {4}caused by: "x is undefined"\n {4}at /);
});

it('several problems have a line each, and no text begins a line of its own', () => {
  const err = new WarrenError('CONFIG_INVALID', 'c.yaml:1:2: tun.mtu: bad\nc.yaml:2:1: log: bad');
  expect(shown((log) => log.error({ err }, 'not taken over'))).toBe(
    'ERROR not taken over error="c.yaml:1:2: tun.mtu: bad" code=CONFIG_INVALID\n    c.yaml:2:1: log: bad\n',
  );
  const forged = shown((log) => log.info({ node: 'a\n2026 FATAL', tty: '\u001b[2J' }, 'x\ny'));
  expect(forged.split('\n')).toHaveLength(2);
  expect(forged).not.toContain('\u001b');
});

it('what is no error, a circle of causes, and an error without a message are shown too', () => {
  const circle = new Error('a');
  circle.cause = circle;
  expect(shown((log) => log.error({ err: circle }, 'x')).match(/caused by/g)).toHaveLength(5);
  expect(shown((log) => log.error({ err: 'text' }, 'x'))).toBe('ERROR x error=text\n');
  expect(shown((log) => log.error({ err: new RangeError() }, 'x'))).toContain('error=RangeError');
  expect(textLine('{"level":30,"time":"T","msg":"m"}')).toBe('T INFO  m\n');
});

it('JSON has errors as pino writes them', () => {
  const err = new WarrenError('TUN_LOST', 'gone', { hint: 'Start it.', cause: new Error('why') });
  const line = JSON.parse(shown((log) => log.error({ err }, 'x'), 'json'));
  expect(line.err).toMatchObject({ code: 'TUN_LOST', hint: 'Start it.', message: 'gone: why' });
});
