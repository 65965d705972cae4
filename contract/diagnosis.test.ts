import { expect, test } from 'vitest';
import { type Category, diagnose, HINTS } from './diagnosis.ts';
import golden from './golden/diagnosis.json' with { type: 'json' };

test('categories that backends and dashboards may match on are still there', () => {
  expect(Object.keys(HINTS)).toEqual(expect.arrayContaining(golden.categories));
});

test('every category has a hint of one line, a sentence', () => {
  for (const [category, hint] of Object.entries(HINTS)) expect(hint, category).toMatch(/^[A-Z][^\n]+\.$/);
});

test('a diagnosis carries the hint of its category', () => {
  for (const category of Object.keys(HINTS) as Category[]) {
    expect(diagnose(category, 'what happened')).toEqual({ category, message: 'what happened', hint: HINTS[category] });
  }
});
