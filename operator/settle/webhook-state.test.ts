import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ANNOTATION } from '../../contract/identity.ts';
import { testJob } from '../../testing/jobs.ts';
import { type WebhookState, webhookState, webhookStateAnnotation } from './webhook-state.ts';

test('I8: what is owed stands on the Job, and a new operator reads it as it was written', () => {
  const tries = fc.nat(20);
  const detail = fc.string();
  const moment = fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-12-31') })
    .map((date) => date.getTime());
  const state: fc.Arbitrary<WebhookState> = fc.oneof(
    fc.record({
      kind: fc.constant('owed' as const),
      tries,
      nextAt: moment,
      detail,
      removal: fc.constantFrom('deleted' as const, 'unsure' as const, 'queue-gone' as const),
    }),
    fc.record({ kind: fc.constant('delivered' as const), tries }),
    fc.record({ kind: fc.constant('given-up' as const), tries, detail }),
  );
  fc.assert(
    fc.property(state, (any) => {
      expect(webhookState(testJob({ annotations: webhookStateAnnotation(any) }))).toEqual(any);
    }),
  );
});

test.each([
  undefined,
  '',
  'null',
  '{"kind":"owed"}',
  '{"kind":"owed","tries":1,"nextAt":"soon","detail":"","removal":"deleted"}',
])('what is not there, or damaged, is not known: %j', (text) => {
  const annotations = text === undefined ? {} : { [ANNOTATION.webhookState]: text };
  expect(webhookState(testJob({ annotations }))).toBeUndefined();
});
