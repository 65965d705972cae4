import { expect, test } from 'vitest';
import { width } from '../text.ts';
import { countLine, findingLines, ok, problem, unknown } from './finding.ts';

const FINDINGS = [
  ok('API server', 'it answers'),
  problem(
    'rights on pods/eviction',
    'a sentence that is rather too long for one line of a narrow terminal',
    'kubectl x'.padEnd(120, 'y'),
  ),
  unknown('quota', 'not asked'),
];

test('checks line up, sentences are wrapped under themselves, and a command stays whole', () => {
  const lines = findingLines(FINDINGS, { colour: false, columns: 72 });
  expect(lines[0]).toBe(`OK       ${'API server'.padEnd(25)}it answers`);
  expect(lines.filter((line) => !line.includes('→')).every((line) => width(line) <= 72)).toBe(true);
  expect(lines.find((line) => line.startsWith('PROBLEM'))?.indexOf('a sentence')).toBe(34);
  expect(lines.filter((line) => /^ {34}\S/.test(line)).length).toBeGreaterThan(0);
  expect(lines.find((line) => line.includes('→'))).toBe(`         → ${FINDINGS[1]?.command}`);
});

test('without a terminal nothing is wrapped or coloured; on one the state has its colour', () => {
  expect(findingLines(FINDINGS, { colour: false, columns: undefined })).toHaveLength(4);
  const coloured = findingLines(FINDINGS, { colour: true, columns: 100 });
  expect(coloured[0]).toContain('\u001b[32mOK');
  expect(coloured[1]).toContain('\u001b[31mPROBLEM');
});

test('what a server says cannot steer the terminal', () => {
  const [line] = findingLines([ok('x', 'a\u001b[2Jb')], { colour: false, columns: 80 });
  expect(line).not.toContain('\u001b');
});

test('they are counted', () => expect(countLine(FINDINGS)).toBe('1 OK, 1 PROBLEM, 1 UNKNOWN.'));
