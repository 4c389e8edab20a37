/** What is said of Kubernetes' own tests. */
import { expect, it } from 'vitest';
import { LEFT_OUT, outcomeOf } from '../../../src/lab/kubernetes/tests.ts';
import { readDocument, section, table } from '../../helpers/markdown.ts';

it('how one has ended is in a line of JSON, for some behind a bullet', () => {
  const json = (msg: string) => JSON.stringify({ msg, total: 4, completed: 1, skipped: 2, failed: 0 });
  expect(outcomeOf(json('PASSED [sig-network] a'))).toBe('PASSED [sig-network] a');
  expect(outcomeOf(`•${json('FAILED [sig-network] b')}`)).toBe('FAILED [sig-network] b');
  expect(outcomeOf(json('Test Suite completed'))).toBeUndefined();
  expect(outcomeOf('{"msg":"PASSED broken}')).toBeUndefined();
  expect(outcomeOf('INFO: {"msg":')).toBeUndefined();
});

it('those that are left out are in the documentation, with the same reason', () => {
  const rows = table(section(readDocument('docs/kubernetes.md'), "Kubernetes' own tests"), 'left out');
  expect(
    rows.map(([match, , why]) => ({ match: match!.replaceAll('`', '').replaceAll(', ', '|'), why })),
  ).toEqual(LEFT_OUT);
});
