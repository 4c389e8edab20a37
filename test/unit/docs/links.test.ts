/** Links lead somewhere, and files that are named are there. */
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, it } from 'vitest';
import { anchors, codeSpans, DOCUMENTS, links, ROOT, readDocument } from '../../helpers/markdown.ts';

const targets = DOCUMENTS.flatMap((document) =>
  links(readDocument(document))
    .filter((target) => !/^https?:/.test(target))
    .map((target) => ({ document, target })),
);

it.each(targets)('$document -> $target', ({ document, target }) => {
  const [path, anchor] = target.split('#') as [string, string | undefined];
  const file = path === '' ? document : normalize(join(dirname(document), path));
  expect(existsSync(join(ROOT, file)), file).toBe(true);
  if (anchor !== undefined) expect(anchors(readDocument(file))).toContain(anchor);
});

it.each(DOCUMENTS)('%s names files that are there', (document) => {
  const named = codeSpans(readDocument(document)).filter((code) =>
    /^(src|test|docs|config|proto|scripts)\/[\w./-]*$/.test(code),
  );
  expect(named.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
});

it('the code names documents that are there', () => {
  expect(anchors(readDocument('docs/architecture.md'))).toContain('what-a-call-costs');
});
