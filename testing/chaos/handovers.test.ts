import { expect, test } from 'vitest';
import { handovers } from '#/testing/chaos/handovers.ts';

test('a kill of the leader is a handover, also where it goes on under its name, and so is each other leader', () => {
  const leaders = [
    { holder: 'a', since: 10 },
    { holder: 'b', since: 50 },
  ];
  const kills = [
    { pod: 'a', at: 5 },
    { pod: 'b', at: 20 },
    { pod: 'a', at: 30 },
    { pod: 'a', at: 60 },
    { pod: 'b', at: 70 },
  ];
  expect(handovers(leaders, kills).toSorted((a, b) => a - b)).toEqual([30, 50, 70]);
});
