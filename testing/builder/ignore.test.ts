import { expect, test } from 'vitest';
import { ignores } from './ignore.ts';

const ignored = ignores('# all but\n\n**/*.bak\n/secret/\nsrc/*.md\n!src/kept.md\n# last\n');

test.each(['a.bak', 'x/y/a.bak', 'secret', 'secret/deep/key', 'src/notes.md'])('%s is left out', (path) => {
  expect(ignored(path)).toBe(true);
});

test.each(['a.txt', 'x/secret', 'src/kept.md', 'src/deep/notes.md', '# last', '.'])('%s is not', (path) => {
  expect(ignored(path)).toBe(false);
});
