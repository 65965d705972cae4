import { expect, test } from 'vitest';
import { tiers } from '#/testing/tiers.ts';
import config from '#/vitest.config.ts';

test('every project of vitest is a tier, so that none is forgotten', () => {
  const projects = config.test?.projects ?? [];
  const names = projects.map((project) => (project as { test: { name: string } }).test.name);
  expect(tiers.map(({ name }) => name)).toEqual(names);
});
