import { expect, test } from 'vitest';
import { tiers } from '#/testing/tiers.ts';
import config from '#/vitest.config.ts';

test('every project of vitest is a tier, so that none is forgotten', () => {
  const projects = config.test?.projects ?? [];
  const names = projects.map((project) => (project as { test: { name: string } }).test.name);
  expect(tiers.map(({ name }) => name)).toEqual(names);
});

test('what runs beside another tier names one, which itself runs beside none', () => {
  for (const { beside } of tiers)
    if (beside !== undefined)
      expect(tiers.filter(({ name }) => name === beside).map((tier) => tier.beside)).toEqual([undefined]);
});
