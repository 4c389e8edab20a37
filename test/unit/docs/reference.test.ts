/** The tables of docs/operations.md and docs/architecture.md say what the code says. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { realClock } from '../../../src/clock.ts';
import { allOffloads } from '../../../src/config/fields.ts';
import { loadConfig, parseConfig } from '../../../src/config/load.ts';
import { plainConfig } from '../../../src/config/render.ts';
import { sectionNames, sections } from '../../../src/config/schema.ts';
import { DROP_NAMES, KERNEL_DROP_NAMES } from '../../../src/datapath/drops.ts';
import { GOSSIP_COUNTERS } from '../../../src/link/counters.ts';
import { renderMetrics } from '../../../src/metrics/prometheus.ts';
import { RuntimeMetrics } from '../../../src/metrics/runtime.ts';
import { VERSION } from '../../../src/package.ts';
import { parsePolicies } from '../../../src/policy/documents.ts';
import { CAUSES } from '../../../src/trace/model.ts';
import { fakePeers, fakeStatus } from '../../helpers/fake-agent.ts';
import { blocks, codeSpans, DOCUMENTS, ROOT, readDocument, section, table } from '../../helpers/markdown.ts';

/** A script without types: it runs before anything is built. */
const { SYSTEM_TOOLS } = (await import(join(ROOT, 'scripts/system-tools.mjs'))) as {
  SYSTEM_TOOLS: Record<'demo' | 'test', readonly { readonly packages: readonly string[] }[]>;
};

const operations = readDocument('docs/operations.md');
const architecture = readDocument('docs/architecture.md');

function unquoted(cell: string | undefined): string {
  return cell!.replaceAll('`', '');
}

describe('the configuration reference', () => {
  const rows = table(section(operations, 'Configuration'), 'key').map(([key, value]) => ({
    key: unquoted(key),
    value: unquoted(value),
  }));

  /** The keys that a schema takes: `a.b`, and `a[].b` within a list. */
  function keysOf(schema: unknown, path: string): string[] {
    if (schema instanceof z.ZodArray) {
      const inner = keysOf(schema.element, `${path}[]`);
      return inner.length === 1 && inner[0] === `${path}[]` ? [path] : [path, ...inner];
    }
    if (!(schema instanceof z.ZodObject)) return [path];
    return Object.entries(schema.shape).flatMap(([key, inner]) => {
      // Lists within a section are values: only a list of peers has keys of its own.
      return inner instanceof z.ZodObject ? keysOf(inner, `${path}.${key}`) : [`${path}.${key}`];
    });
  }

  it('has every key of the schema, and no other', () => {
    const keys = [
      ...sectionNames.flatMap((name) => keysOf(sections[name], name)),
      ...Object.keys(allOffloads(true)).map((name) => `datapath.offload.${name}`),
    ];
    expect(rows.map(({ key }) => key).sort()).toEqual(keys.sort());
  });

  it('has the right defaults', () => {
    const config = parseConfig('cluster: {podCidrs: [10.42.0.0/16, "fd42::/48"]}', 'test', 'host');
    const plain = plainConfig(config);
    for (const { key, value } of rows) {
      if (value === 'required' || value.startsWith('the host') || key === 'datapath.offload') continue;
      const actual = key
        .split('.')
        .reduce<unknown>((part, name) => (part as Record<string, unknown> | undefined)?.[name], plain);
      if (value === 'none') expect(actual, key).toBeUndefined();
      else expect(parseYaml(value), key).toEqual(actual);
    }
    // `auto` stands for all of them.
    expect(
      plainConfig(parseConfig('cluster: {podCidrs: [10.42.0.0/16]}\ndatapath: {offload: auto}', 't', 'h')),
    ).toMatchObject({ datapath: plain.datapath });
  });

  it('says which keys are required', () => {
    const required = rows.filter(({ key, value }) => value === 'required' && !key.includes('[]'));
    expect(required.map(({ key }) => key)).toEqual(['cluster.podCidrs']);
    expect(() => parseConfig('cluster: {}', 'test', 'host')).toThrow(/cluster\.podCidrs: is missing/);
  });
});

describe('configurations that are shown', () => {
  const shown = DOCUMENTS.flatMap((document) =>
    blocks(readDocument(document))
      .filter(({ language }) => language === 'yaml')
      .map(({ text, line }) => ({ where: `${document}:${line}`, text })),
  );

  it('are found', () => {
    expect(shown.length).toBeGreaterThanOrEqual(2);
  });

  it.each(shown)('$where loads', ({ text, where }) => {
    const isPolicy = /^kind: NetworkPolicy$/m.test(text);
    const load = () => (isPolicy ? parsePolicies(text, where) : parseConfig(text, where, 'node-a'));
    expect(load).not.toThrow();
  });

  it.each(readdirSync(join(ROOT, 'config')))('config/%s loads', (name) => {
    expect(() => loadConfig(join(ROOT, 'config', name))).not.toThrow();
  });

  it('config/full.yaml has every key', () => {
    const full = parseYaml(readFileSync(join(ROOT, 'config/full.yaml'), 'utf8')) as Record<string, object>;
    expect(Object.keys(full).sort()).toEqual([...sectionNames].sort());
    for (const name of sectionNames) {
      const schema = sections[name];
      const shape = schema instanceof z.ZodObject ? schema.shape : {};
      if (schema instanceof z.ZodObject) {
        expect(Object.keys(full[name]!).sort(), name).toEqual(Object.keys(shape).sort());
      }
    }
  });
});

describe('the table of drop reasons', () => {
  it('has every reason, in their order', () => {
    const rows = table(section(operations, 'Drop reasons'), 'reason');
    expect(rows.map(([name]) => unquoted(name))).toEqual([...DROP_NAMES, ...KERNEL_DROP_NAMES]);
    for (const row of rows) expect(row.every((cell) => cell !== '')).toBe(true);
  });
});

describe('docs/trace.md', () => {
  it('has every cause that a trace may name', () => {
    const spans = new Set(codeSpans(readDocument('docs/trace.md')));
    expect(CAUSES.filter((cause) => !spans.has(cause))).toEqual([]);
  });
});

describe('the table of methods in proto/wire.md', () => {
  it('has every method that nodes ask each other for, and no other', () => {
    const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => readFileSync(join(ROOT, 'src', path), 'utf8'));
    const methods = sources.flatMap((text) =>
      [...text.matchAll(/METHOD = '([^']+)';/g)].map(([, name]) => name!),
    );
    const rows = table(section(readDocument('proto/wire.md'), 'Calls'), 'method');
    expect(rows.map(([method]) => codeSpans(method!)[0]).sort()).toEqual(methods.sort());
  });
});

describe('the tables of metrics', () => {
  const text = section(operations, 'Metrics');
  const gossip = Object.fromEntries(GOSSIP_COUNTERS.map((name) => [name, 0]));
  const postQuantum = { mode: 'on', keys: { agreed: 1 } } as const;
  const encapsulation = { ...fakeStatus.encapsulation, postQuantum };
  const peers = fakePeers.map((peer) => ({ ...peer, postQuantum: 'agreed' as const }));
  const runtime = new RuntimeMetrics(realClock);
  const rendered = renderMetrics({ ...fakeStatus, encapsulation, gossip }, peers) + runtime.render();
  runtime.close();
  const names = [...rendered.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);

  it('have every metric, with its labels', () => {
    const rows = table(text, 'metric').filter(([name]) => !name!.includes('NAME'));
    const own = names.filter((name) => !name.startsWith('warren_gossip_'));
    expect(rows.map(([name]) => unquoted(name))).toEqual(own);
    for (const [name, labels] of rows) {
      const sample = new RegExp(`^${unquoted(name)}(?:_bucket)?(?:\\{(.*?)\\})? `, 'm').exec(rendered);
      const found = [...(sample?.[1] ?? '').matchAll(/(\w+)="/g)].map(([, label]) => label);
      const own = found.filter((label) => label !== 'le');
      expect(labels, name!).toBe(own.join(', '));
    }
  });

  it('have every gossip counter', () => {
    const rows = table(text, 'gossip counter');
    const listed = rows.flatMap(([cell]) => codeSpans(cell!)).map((name) => `warren_gossip_${name}_total`);
    expect(listed.sort()).toEqual(names.filter((name) => name.startsWith('warren_gossip_')).sort());
  });
});

describe('the table of dependencies', () => {
  const rows = table(section(architecture, 'Dependencies'), 'package');
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
    license: string;
    dependencies: Record<string, string>;
    devDependencies: Record<string, string>;
  };

  it('has every package, with the version that is used and its licence', () => {
    const listed = Object.fromEntries(rows.map(([name, version]) => [name, version]));
    expect(listed).toEqual({ ...manifest.dependencies, ...manifest.devDependencies });
    for (const [name, , licence] of rows) {
      const path = join(ROOT, 'node_modules', name!, 'package.json');
      expect(licence, name!).toBe((JSON.parse(readFileSync(path, 'utf8')) as { license: string }).license);
    }
  });

  it('tells which are only for development', () => {
    for (const [name, , , purpose] of rows) {
      expect(purpose!.includes('(dev)'), name!).toBe(name! in manifest.devDependencies);
    }
  });

  it('agrees with the licence and the changelog', () => {
    expect(manifest.license).toBe('Apache-2.0');
    expect(readDocument('LICENSE')).toMatch(/^\s+Apache License\s+Version 2\.0, January 2004/);
    expect(manifest.version).toBe(VERSION);
    const sections = [...readDocument('CHANGELOG.md').matchAll(/^## \[(.+?)\](?: - (.+))?$/gm)];
    const releases = sections.filter(([, name]) => name !== 'Unreleased');
    expect(releases[0]?.[1]).toBe(VERSION);
    for (const [line, , date] of releases) expect(date, line).toMatch(/^\d{4}-\d{2}-\d{2}$/);
    // What is to come stands above all of them, in one section.
    expect(sections.length - releases.length).toBeLessThanOrEqual(1);
    expect(sections.findIndex(([, name]) => name === 'Unreleased')).toBeLessThanOrEqual(0);
  });
});

describe('what the README says is installed', () => {
  it.each([
    ['npm run demo', 'demo'],
    ['npm test', 'test'],
  ] as const)('%s: every Debian package', (command, purpose) => {
    const text = section(readDocument('README.md'), 'Try it');
    const rows = table(text, 'command');
    const cell = (name: string) => rows.find(([first]) => unquoted(first) === name)![2]!;
    const listed = command === 'npm test' ? `${cell('npm run demo')}, ${cell('npm test')}` : cell(command);
    const packages = new Set(SYSTEM_TOOLS[purpose].flatMap((tool) => tool.packages));
    const words = new Set(listed.split(/[\s,]+/));
    for (const name of packages) expect(words, name).toContain(name);
  });
});
