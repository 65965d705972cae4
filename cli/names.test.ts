import { expect, test } from 'vitest';
import { isPoisonQueue, queuePair } from './names.ts';

test('a task queue and its poison queue are named by either', () => {
  const pair = { task: 'acme-tasks', poison: 'acme-tasks-poison' };
  expect(queuePair('acme-tasks')).toEqual(pair);
  expect(queuePair('acme-tasks-poison')).toEqual(pair);
});

test.each(['', 'A', 'acme_tasks', '-acme', 'acme--tasks', 'a/b', '../x', 'ab', '-poison', 'x'.repeat(57)])(
  '%j is no name of a queue',
  (name) => expect(queuePair(name)).toBeUndefined(),
);

test('a poison queue has a task queue', () => {
  expect(isPoisonQueue('acme-tasks-poison')).toBe(true);
  expect(isPoisonQueue('acme-tasks')).toBe(false);
  expect(isPoisonQueue('-poison')).toBe(false);
});
