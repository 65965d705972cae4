import { expect, test } from 'vitest';
import { tryParseJson } from './json.ts';

test.each<[string, unknown]>([
  ['{"a":[1]}', { a: [1] }],
  ['null', null],
  ['', undefined],
  ['{"a":', undefined],
])('%j is %j', (text, expected) => expect(tryParseJson(text)).toEqual(expected));
