import fc from 'fast-check';
import { expect, test } from 'vitest';
import { estimateTokens, splitDocument } from './pieces.ts';

const page = (number: number | null, text: string) => ({ page: number, text });

test('a document that fits is one piece, its pages marked', () => {
  expect(splitDocument([page(1, 'one'), page(2, ''), page(3, 'three')], 1000)).toEqual([
    { text: '[page 1]\none\n[page 3]\nthree', pages: { first: 1, last: 3 } },
  ]);
  expect(splitDocument([page(null, 'all of it')], 1000)).toEqual([{ text: 'all of it', pages: null }]);
  expect(splitDocument([page(1, ' \n')], 1000)).toEqual([]);
});

test('it is cut between pages where it can', () => {
  const pieces = splitDocument(
    [1, 2, 3, 4].map((number) => page(number, `${number}`.repeat(300))),
    250,
  );
  expect(pieces.map(({ pages }) => pages)).toEqual([
    { first: 1, last: 2 },
    { first: 3, last: 4 },
  ]);
});

test.each([
  ['paragraphs', `${'a'.repeat(200)}\n\n${'b'.repeat(200)}`, `${'a'.repeat(200)}\n\n`],
  ['lines', `${'a'.repeat(200)}\n${'b'.repeat(200)}`, `${'a'.repeat(200)}\n`],
  ['sentences', `${'a'.repeat(200)}. ${'b'.repeat(200)}`, `${'a'.repeat(200)}. `],
  ['words', `${'a'.repeat(200)} ${'b'.repeat(200)}`, `${'a'.repeat(200)} `],
])('a long page is cut between %s', (_, text, first) => {
  expect(splitDocument([page(null, text)], 100)[0]?.text).toBe(first);
});

test('whatever the text, nothing is lost, nothing is twice, no character is cut, and every piece fits', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 2000 }), fc.integer({ min: 20, max: 300 }), (text, most) => {
      const pieces = splitDocument([page(null, text)], most);
      expect(
        pieces
          .map((piece) => piece.text)
          .join('\n')
          .replaceAll(/\s/g, ''),
      ).toBe(text.toWellFormed().replaceAll(/\s/g, ''));
      for (const piece of pieces) {
        expect(piece.text.isWellFormed()).toBe(true);
        expect(estimateTokens(piece.text)).toBeLessThanOrEqual(most + 8);
      }
    }),
  );
});

test('tokens are estimated by bytes, never too few', () => {
  expect(estimateTokens('')).toBe(0);
  expect(estimateTokens('harbour')).toBe(3);
  expect(estimateTokens('港湾報告')).toBe(4);
});
