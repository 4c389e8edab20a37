import { describe, expect, it } from 'vitest';
import { isEmptyConfig, withoutResolvers, withResolvers } from '../../../src/docker/daemon-json.ts';

const NODE = '10.42.3.1';
const HOST = '192.0.2.53';

/** Before, and after this node and the host's resolver were put in. */
const TEXTS: Readonly<Record<string, readonly [string, string]>> = {
  'an empty object': ['{}', `{\n  "dns": ["${NODE}", "${HOST}"]\n}`],
  'one line': ['{"debug":true}\n', `{"debug":true, "dns": ["${NODE}", "${HOST}"]}\n`],
  'two spaces': [
    '{\n  "hosts": ["unix:///a"],\n  "debug": true\n}\n',
    `{\n  "hosts": ["unix:///a"],\n  "debug": true,\n  "dns": ["${NODE}", "${HOST}"]\n}\n`,
  ],
  'tabs and CRLF': [
    '{\r\n\t"debug": true\r\n}',
    `{\r\n\t"debug": true,\r\n\t"dns": ["${NODE}", "${HOST}"]\r\n}`,
  ],
  'numbers and texts that a parser would write in another way': [
    '{ "a\\u0041": 18446744073709551615, "b": 1e3, "c": "}\\"]," }',
    `{ "a\\u0041": 18446744073709551615, "b": 1e3, "c": "}\\"],", "dns": ["${NODE}", "${HOST}"] }`,
  ],
  'a dns further down': [
    '{"log-opts": {"dns": ["x"]}, "list": [{"dns": 1}, []]}',
    `{"log-opts": {"dns": ["x"]}, "list": [{"dns": 1}, []], "dns": ["${NODE}", "${HOST}"]}`,
  ],
  'resolvers of its own': [
    '{"dns": ["198.51.100.1"], "debug": true}',
    `{"dns": ["${NODE}", "198.51.100.1"], "debug": true}`,
  ],
  'those on lines of their own': [
    '{\n  "dns": [\n    "198.51.100.1",\n    "198.51.100.2"\n  ]\n}\n',
    `{\n  "dns": [\n    "${NODE}", "198.51.100.1",\n    "198.51.100.2"\n  ]\n}\n`,
  ],
};

describe('daemon.json', () => {
  it.each(Object.entries(TEXTS))('of %s gets resolvers, and loses them again', (_, [before, after]) => {
    const { text, added } = withResolvers(before, NODE, [HOST]);
    expect(text).toBe(after);
    const without = withoutResolvers(text, added);
    expect(without).toBe(before);
    expect(withResolvers(text, NODE, [HOST])).toEqual({ text, added: [] });
  });

  it('that is not there, or has nothing in it, is made', () => {
    for (const before of [undefined, '', ' \n']) {
      const { text, added } = withResolvers(before, NODE, []);
      expect(text).toBe(`{\n  "dns": ["${NODE}"]\n}\n`);
      const without = withoutResolvers(text, added);
      expect([without, isEmptyConfig(without)]).toEqual(['{}\n', true]);
    }
    expect(isEmptyConfig('{"a": 1}')).toBe(false);
  });

  it('with an empty list has it filled', () => {
    const { text } = withResolvers('{"dns": [], "debug": true}', NODE, [HOST, HOST]);
    expect(text).toBe(`{"dns": ["${NODE}", "${HOST}"], "debug": true}`);
    expect(withoutResolvers(text, [NODE, HOST])).toBe('{"debug": true}');
  });

  it('keeps what others have put there since', () => {
    const text = `{"dns": ["198.51.100.1", "${HOST}", "${NODE}"], "debug": true}`;
    expect(withoutResolvers(text, [NODE, HOST])).toBe('{"dns": ["198.51.100.1"], "debug": true}');
    expect(withoutResolvers('{"dns": ["198.51.100.1"]}', [NODE, HOST])).toBe('{"dns": ["198.51.100.1"]}');
    expect(withoutResolvers('{"dns": []}', [NODE, HOST])).toBe('{"dns": []}');
    expect(withoutResolvers('{"debug": true}', [NODE, HOST])).toBe('{"debug": true}');
    expect(withoutResolvers('', [NODE])).toBe('');
  });

  it('that names a key twice has the one that counts changed', () => {
    const { text, added } = withResolvers('{"dns": ["a"], "dns": ["b"]}', NODE, [HOST]);
    expect(text).toBe(`{"dns": ["a"], "dns": ["${NODE}", "b"]}`);
    expect(withoutResolvers(text, added)).toBe('{"dns": ["a"], "dns": ["b"]}');
  });

  it.each([
    '{"dns": [',
    'debug: true',
    '{"a": 1,}',
    '// none\n{}',
    '\uFEFF{}',
    '[]',
    'null',
    '7',
    '"dns"',
    '{"dns": "192.0.2.53"}',
    '{"dns": [1]}',
    '{"dns": null}',
    `{"a": "${'x'.repeat(1024 * 1024)}"}`,
  ])('that is not valid is refused: %.20s', (text) => {
    expect(() => withResolvers(text, NODE, [HOST])).toThrow(
      expect.objectContaining({ code: 'DOCKER_CONFIG_INVALID' }),
    );
    expect(() => withoutResolvers(text, [NODE])).toThrow(
      expect.objectContaining({ code: 'DOCKER_CONFIG_INVALID' }),
    );
  });
});
