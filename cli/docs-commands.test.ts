/** Each `slipway` command that README, docs or a help text shows is one that there is, with options that it has. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import type { Surroundings } from './commands.ts';
import { createProgram } from './program.ts';

const root = new URL('../', import.meta.url);
const pages = [
  'README.md',
  ...readdirSync(new URL('docs/', root))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
const silent = { out: () => undefined, err: () => undefined } as unknown as Surroundings;
const program = createProgram(silent, () => undefined);
/** At the beginning of a line, of a word in backticks, or behind a pipe; elsewhere it is the name of a namespace or a release. */
const START =
  /(?:npm run -s slipway --|node \/app\/cli\/slipway\.mjs|(?<=^\s*(?:\$ )?|`|\| )slipway) ([a-z][^`\n|>#;&)]*)/gm;

/** Commands in code: indented, fenced or between backticks. */
function commandsOf(page: string): readonly string[] {
  const text = readFileSync(new URL(page, root), 'utf8');
  const code = [...text.matchAll(/^ {4,}.*$|^```\w*\n[\s\S]*?^```|`[^`\n]+`/gm)].map(([block]) => block).join('\n');
  return [...code.matchAll(START)].map(([, words = '']) => words.trim());
}

function problemOf(words: readonly string[], command: Command): string | undefined {
  const [first, ...rest] = words;
  const sub = command.commands.find((one) => one.name() === first);
  if (sub !== undefined) return problemOf(rest, sub);
  if (command.commands.length > 0 && first !== undefined)
    return `there is no command ${[command.name(), first].join(' ')}`;
  const known = command.options.flatMap(({ short, long }) => [short, long]);
  const wrong = words.filter((word) => /^--?[a-z]/.test(word)).map((word) => word.split('=')[0]);
  const unknown = wrong.find((word) => word !== '--help' && !known.includes(word));
  return unknown === undefined ? undefined : `${command.name()} has no option ${unknown}`;
}

/** A word of prose after the name of the product, and names of charts, Secrets or releases. */
const PROSE = /^(?:charts|itself|the|is|and|takes|shows|says|reads|does|will|has)\b/;

const shown = pages.flatMap((page) => commandsOf(page).map((words) => [page, words] as const));

test.each(shown.filter(([, words]) => !PROSE.test(words)))('%s: slipway %s', (_, words) => {
  expect(problemOf(words.split(/\s+/), program)).toBeUndefined();
});

test('there are some, of every command', () => {
  const names = new Set(shown.map(([, words]) => words.split(/\s+/)[0]));
  expect([...names]).toEqual(expect.arrayContaining(program.commands.map((command) => command.name())));
});
