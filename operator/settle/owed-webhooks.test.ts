import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ANNOTATION } from '../../contract/identity.ts';
import { FAILED, testJob } from '../../testing/jobs.ts';
import { EPOCH } from '../../testing/virtual-clock.ts';
import type { JobRecord } from '../jobs/records.ts';
import { OwedWebhooks } from './owed-webhooks.ts';
import { webhookStateAnnotation } from './webhook-state.ts';

function owing(name: string, host: string, endedAt: number, settled = false): JobRecord {
  const owed = { kind: 'owed', tries: 1, nextAt: EPOCH, detail: '503', removal: 'deleted' } as const;
  const annotations = { [ANNOTATION.webhookUrl]: `https://${host}/h`, ...webhookStateAnnotation(owed) };
  return testJob({ name, annotations, end: { ...FAILED, at: EPOCH + endedAt }, settled });
}

test('I8: beyond the bound of a host the one that is owed for the longest is given up, whichever came last', () => {
  const given: string[] = [];
  const owed = new OwedWebhooks((name) => given.push(name), { perHost: 2, inAll: 100 });
  owed.observe('new', owing('new', 'a', 3000));
  owed.observe('old', owing('old', 'a', 1000));
  owed.observe('elsewhere', owing('elsewhere', 'b', 0));
  expect(given).toEqual([]);
  owed.observe('middle', owing('middle', 'a', 2000));
  expect(given).toEqual(['old']);
  expect(owed.surplus('old')).toBe('more than 2 webhooks are owed to a, and this one for the longest');
  for (const name of ['new', 'middle', 'elsewhere']) expect(owed.surplus(name)).toBeUndefined();
});

test('a webhook that is delivered, given up or gone makes room', () => {
  const given: string[] = [];
  const owed = new OwedWebhooks((name) => given.push(name), { perHost: 1, inAll: 100 });
  owed.observe('a', owing('a', 'h', 1));
  owed.observe('a', owing('a', 'h', 1, true));
  owed.observe('b', owing('b', 'h', 2));
  owed.observe('b', undefined);
  owed.observe('c', owing('c', 'h', 3));
  expect(given).toEqual([]);
});

test('I8: however they come and go, no more are owed than the bounds allow', () => {
  const step = fc.record({ name: fc.nat(20), host: fc.nat(3), at: fc.nat(1000), gone: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const live = new Map<string, string>();
      const owed = new OwedWebhooks((name) => live.delete(name), { perHost: 3, inAll: 7 });
      for (const { name, host, at, gone } of steps) {
        const key = `job-${name}`;
        if (gone || owed.surplus(key) !== undefined) {
          live.delete(key);
          owed.observe(key, undefined);
        } else {
          if (!live.has(key)) live.set(key, `host-${host}`);
          owed.observe(key, owing(key, live.get(key) ?? '', at));
        }
        expect(live.size).toBeLessThanOrEqual(7);
        for (const one of ['host-0', 'host-1', 'host-2', 'host-3'])
          expect([...live.values()].filter((other) => other === one).length).toBeLessThanOrEqual(3);
      }
    }),
  );
});
