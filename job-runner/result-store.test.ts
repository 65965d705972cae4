import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resultPath } from './result-store.ts';

test('plain ids stay as they are', () => {
  expect(resultPath({ clientId: 'acme', taskId: '0191-ab_c.7' }, '.json')).toBe('acme/0191-ab_c.7.json');
});

test("no id reaches into another client's folder, and two ids do not share a place", () => {
  const id = fc.oneof(
    fc.string({ minLength: 1, maxLength: 256 }),
    fc.constantFrom('..', '.', '../b/x', 'a/../../b', '%2e%2e/b', 'a?b', 'a#b', ' ', '\\'),
  );
  fc.assert(
    fc.property(id, id, (first, second) => {
      const path = resultPath({ clientId: 'acme', taskId: first }, '.json');
      expect(path).toMatch(/^acme\/[A-Za-z0-9][A-Za-z0-9._-]*\.json$/);
      expect(new URL(`https://host/results/${path}`).pathname).toBe(`/results/${path}`);
      if (first !== second) expect(resultPath({ clientId: 'acme', taskId: second }, '.json')).not.toBe(path);
    }),
  );
  expect(resultPath({ clientId: '../x', taskId: 'y' }, '.json')).toMatch(/^[A-Za-z0-9-]*\/y\.json$/);
});
