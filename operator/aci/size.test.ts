import { expect, test } from 'vitest';
import { groupSize } from './size.ts';

test.each([
  [
    { cpu: '250m', memory: '128Mi' },
    { cpu: 1, memoryInGB: 1 },
  ],
  [
    { cpu: '1', memory: '2Gi' },
    { cpu: 1, memoryInGB: 2.2 },
  ],
  [
    { cpu: '1.234', memory: '2G' },
    { cpu: 1.24, memoryInGB: 2 },
  ],
  [
    { cpu: '1100m', memory: '2300M' },
    { cpu: 1.1, memoryInGB: 2.3 },
  ],
  [{}, { cpu: 1, memoryInGB: 1 }],
])('%o is a group of %o', (requests, expected) => expect(groupSize({ requests })).toMatchObject(expected));

test('a limit stands for a request that is missing', () => {
  expect(groupSize({ limits: { memory: '4G', 'ephemeral-storage': '20G' } })).toEqual({
    cpu: 1,
    memoryInGB: 4,
    diskGB: 20,
  });
  expect(groupSize(undefined)).toEqual({ cpu: 1, memoryInGB: 1, diskGB: 0 });
});
