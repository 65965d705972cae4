import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { scanJson } from './json-scan.ts';

/** A JSON value as it is written: an object's keys may repeat. */
type Written =
  | { readonly kind: 'bare'; readonly text: string }
  | { readonly kind: 'array'; readonly items: readonly Written[]; readonly space: string }
  | { readonly kind: 'object'; readonly entries: readonly (readonly [string, Written])[]; readonly space: string };

const space = fc.constantFrom('', ' ', '\n', '\t \r\n');
// Few keys, so that they repeat; with characters that could mislead a scanner.
const key = fc.constantFrom('a', 'b', '', '"', '\\', '{', '}', '[', ':', 'a"b', '\\"', '__proto__', '\ud800', 'é');
const bare = fc.oneof(
  fc.constantFrom('0', '-1.5e300', 'true', 'null', '"{"', '"[:]"', '"\\\\"', '"\\u0022:"', '"a\\":"'),
  fc.string().map((text) => JSON.stringify(text)),
);
const { written } = fc.letrec<{ written: Written }>((tie) => ({
  written: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    bare.map((text): Written => ({ kind: 'bare', text })),
    fc.record({ kind: fc.constant('array' as const), items: fc.array(tie('written'), { maxLength: 4 }), space }),
    fc.record({
      kind: fc.constant('object' as const),
      entries: fc.array(fc.tuple(key, tie('written')), { maxLength: 4 }),
      space,
    }),
  ),
}));

/** Keys are written in one of two ways, which mean the same key. */
function writeKey(text: string, at: number): string {
  return at % 2 === 0
    ? JSON.stringify(text)
    : `"${[...text]
        .flatMap((char) => char.split(''))
        .map(escapeUnit)
        .join('')}"`;
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function write(value: Written): string {
  if (value.kind === 'bare') return value.text;
  const between = value.space;
  const parts =
    value.kind === 'array'
      ? value.items.map(write)
      : value.entries.map(([name, entry], at) => `${writeKey(name, at)}${between}:${between}${write(entry)}`);
  const [open, close] = value.kind === 'array' ? '[]' : '{}';
  return `${open}${between}${parts.join(`${between},${between}`)}${between}${close}`;
}

function depthOf(value: Written): number {
  if (value.kind === 'bare') return 0;
  const inner = value.kind === 'array' ? value.items : value.entries.map(([, entry]) => entry);
  return 1 + Math.max(0, ...inner.map(depthOf));
}

function firstRepeatedKey(value: Written): string | undefined {
  if (value.kind !== 'object') return undefined;
  const keys = value.entries.map(([name]) => name);
  return keys.find((name, at) => keys.indexOf(name) < at);
}

describe('scanJson', () => {
  test('agrees with a recursive reading of any JSON text', () => {
    fc.assert(
      fc.property(written, space, (value, around) => {
        const text = `${around}${write(value)}${around}`;
        JSON.parse(text);
        expect(scanJson(text)).toEqual({ duplicateKey: firstRepeatedKey(value), depth: depthOf(value) });
      }),
      { numRuns: 400 },
    );
  });

  test.each<[string, string | undefined]>([
    ['{"a":1,"a":2}', 'a'],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{"a":1,"b":{"a":2}}', undefined],
    ['{"a":{"a":1},"b":["a","a"]}', undefined],
    ['{"a":"a","b":"a"}', undefined],
    ['["a","a"]', undefined],
    ['{"":1,"":2}', ''],
    ['{"a":1,"b":2,"b":3,"a":4}', 'b'],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
    ['  {"a" \n:1,\t"a"\r:2}', 'a'],
  ])('the repeated key of %s is %j', (text, expected) => expect(scanJson(text).duplicateKey).toBe(expected));

  test('reads 60,000 brackets without recursion', () => {
    const text = `${'['.repeat(30_000)}${']'.repeat(30_000)}`;
    expect(scanJson(text).depth).toBe(30_000);
  });
});
