import { expect, test } from 'vitest';
import { expand, glob, pairs, words } from './words.ts';

const ENV = new Map([
  ['NAME', 'app'],
  ['EMPTY', ''],
]);

test.each([
  ['/srv/$NAME/x', '/srv/app/x'],
  ['${NAME}s', 'apps'],
  ['a$UNSET.b', 'a.b'],
  ['${UNSET:-x$NAME}', 'xapp'],
  ['${EMPTY:-x}|${EMPTY-x}|${UNSET-x}', 'x||x'],
  ['${NAME:+set}|${EMPTY:+set}|${EMPTY+set}|${UNSET+set}', 'set||set|'],
  ['${NAME:?not there}', 'app'],
  ['"a $NAME"\'$NAME\'', 'a app$NAME'],
  ['a\\ b\\$NAME', 'a b$NAME'],
  ['"\\"\\$NAME\\n"', '"$NAME\\n'],
  ['5$ and $1', '5$ and $1'],
])('%s is %s', (text, expanded) => {
  expect(expand(text, ENV)).toBe(expanded);
});

test.each([
  ['"open', 'double-quote'],
  ["'open", 'single-quote'],
  ['${NAME', 'unsupported modifier'],
  ['${NAME:-x', 'missing }'],
  ['${NAME%p}', 'unsupported modifier (%)'],
  ['${}', 'bad substitution'],
  ['${UNSET:?is needed}', 'UNSET: is needed'],
])('%s is refused', (text, complaint) => {
  expect(() => expand(text, ENV)).toThrow(complaint);
});

test('words and pairs', () => {
  expect(words('a="b c"  d=\'e f\'g h\\ i')).toEqual(['a="b c"', "d='e f'g", 'h\\ i']);
  expect(pairs('A=1 B="x y" C=')).toEqual([
    ['A', '1'],
    ['B', '"x y"'],
    ['C', ''],
  ]);
  expect(pairs('A the rest of=it')).toEqual([['A', 'the rest of=it']]);
  expect(() => pairs('A')).toThrow('a name and a value');
  expect(() => pairs('A=1 B')).toThrow('can\'t find = in "B"');
});

test.each([
  ['*.conf', ['a.conf', '.conf'], ['x/a.conf', 'aconf']],
  ['a?[b-c]', ['axb', 'a.c'], ['a/b', 'axd']],
  ['[^a]x', ['bx'], ['ax']],
  ['**/*.bak', ['a.bak', 'x/y/a.bak'], ['a.bak/x']],
  ['x/**', ['x/a', 'x/a/b'], ['x', 'y']],
  ['a\\*', ['a*'], ['ab']],
])('the pattern %s', (pattern, matching, other) => {
  expect(matching.filter((path) => !glob(pattern).test(path))).toEqual([]);
  expect(other.filter((path) => glob(pattern).test(path))).toEqual([]);
});
