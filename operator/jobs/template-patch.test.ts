import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { patchTemplate } from './template-patch.ts';

describe('patchTemplate', () => {
  test.each<[what: string, base: unknown, patch: unknown, expected: unknown]>([
    ['objects merge', { spec: { a: 1, b: 2 } }, { spec: { b: 3, c: 4 } }, { spec: { a: 1, b: 3, c: 4 } }],
    ['null removes', { spec: { a: 1, b: { c: 2 } } }, { spec: { b: null } }, { spec: { a: 1 } }],
    ['null for what is not there removes nothing', { a: 1 }, { b: null }, { a: 1 }],
    [
      'named lists merge by name, and keep their order',
      { containers: [{ name: 'task', image: 'a' }, { name: 'other' }] },
      { containers: [{ name: 'log' }, { name: 'task', tty: true }] },
      { containers: [{ name: 'task', image: 'a', tty: true }, { name: 'other' }, { name: 'log' }] },
    ],
    [
      'named lists merge at every depth',
      { containers: [{ name: 'task', env: [{ name: 'A', value: '1' }] }] },
      {
        containers: [
          {
            name: 'task',
            env: [
              { name: 'A', value: '2' },
              { name: 'B', value: '3' },
            ],
          },
        ],
      },
      {
        containers: [
          {
            name: 'task',
            env: [
              { name: 'A', value: '2' },
              { name: 'B', value: '3' },
            ],
          },
        ],
      },
    ],
    ['any other list replaces', { args: ['a', 'b'] }, { args: ['c'] }, { args: ['c'] }],
    ['an empty list replaces', { volumes: [{ name: 'tmp' }] }, { volumes: [] }, { volumes: [] }],
    ['a list with a nameless item replaces', { l: [{ name: 'a' }] }, { l: [{ key: 'b' }] }, { l: [{ key: 'b' }] }],
    ['a list in place of an object replaces', { a: { b: 1 } }, { a: [1] }, { a: [1] }],
    ['an object in place of a text replaces', { a: 'x' }, { a: { b: 1 } }, { a: { b: 1 } }],
    [
      'null removes within what is new, too',
      { a: 'x' },
      { a: { b: null }, c: { d: null, e: 1 } },
      { a: {}, c: { e: 1 } },
    ],
    ['names that every object inherits are ordinary', {}, { constructor: { a: 1 } }, { constructor: { a: 1 } }],
    ['what is new is taken as it is', {}, { a: { b: [{ name: 'c' }] } }, { a: { b: [{ name: 'c' }] } }],
  ])('%s', (_, base, patch, expected) => expect(patchTemplate(base, patch)).toEqual(expected));

  const value = fc.jsonValue();
  const object = fc.dictionary(fc.string(), value);

  test('an empty patch changes nothing, and neither argument is touched', () => {
    fc.assert(
      fc.property(object, object, (base, patch) => {
        const before = structuredClone([base, patch]);
        expect(patchTemplate(base, {})).toEqual(base);
        patchTemplate(base, patch);
        expect([base, patch]).toEqual(before);
      }),
    );
  });

  test('patching twice is patching once', () => {
    fc.assert(
      fc.property(object, object, (base, patch) => {
        const once = patchTemplate(base, patch);
        expect(patchTemplate(once, patch)).toEqual(once);
      }),
    );
  });
});
