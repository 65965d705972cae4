import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyText } from '../testing/texts.ts';
import golden from './golden/identity.json' with { type: 'json' };
import * as identity from './identity.ts';
import { clientOf, installationId, jobName, labelValue, poisonQueueOf } from './identity.ts';

const text = fc.oneof(fc.string(), anyText(), anyText(300));
const ref = fc.record({ account: text, queue: text, messageId: text });

describe('jobName', () => {
  test.each(golden.jobName)(
    'I1: a message keeps its name in every release: $name',
    ({ name, taskType, ...message }) => {
      expect(jobName(message, taskType)).toBe(name);
    },
  );

  test('is a DNS label of at most 52 characters for anything', () => {
    fc.assert(
      fc.property(ref, text, (message, taskType) => {
        expect(jobName(message, taskType)).toMatch(/^(?=.{1,52}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?$/);
      }),
      { numRuns: 500 },
    );
  });

  test('I1: two messages never share a name, and one message has one', () => {
    const hash = (message: identity.MessageRef) => jobName(message, 'echo').slice(-12);
    fc.assert(
      fc.property(ref, ref, (a, b) => {
        const same = a.account === b.account && a.queue === b.queue && a.messageId === b.messageId;
        // Account and queue names hold no line feed, which keeps the parts apart.
        fc.pre(![a, b].some(({ account, queue }) => `${account}${queue}`.includes('\n')));
        fc.pre(![a, b].some((one) => !Object.values(one).every((part) => part.isWellFormed())));
        expect(hash(a) === hash(b)).toBe(same);
        expect(hash({ ...a })).toBe(hash(a));
      }),
    );
  });
});

describe('labelValue', () => {
  test.each(golden.labelValue)('$text becomes $value', (one) => expect(labelValue(one.text)).toBe(one.value));

  test('is a valid label value for anything, and the text itself where that is one', () => {
    const valid = /^(?=.{0,63}$)(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
    fc.assert(
      fc.property(fc.oneof(text, fc.stringMatching(/^[a-z0-9._-]{0,80}$/)), (any) => {
        expect(labelValue(any)).toMatch(valid);
        if (valid.test(any)) expect(labelValue(any)).toBe(any);
      }),
      { numRuns: 500 },
    );
  });
});

test.each(golden.installationId)('an installation keeps its id: $id', ({ account, namespace, suffix, id }) => {
  expect(installationId(account, namespace, suffix)).toBe(id);
});

test.each(golden.clientOf)('the client of $queue is $client', ({ queue, client }) => {
  expect(clientOf(queue) ?? null).toBe(client);
});

test.each(golden.poisonQueueOf)('the poison queue of $queue is $poison', ({ queue, poison }) => {
  expect(poisonQueueOf(queue)).toBe(poison);
});

test('words that stand on the Jobs of running installations are still understood', () => {
  expect(identity).toMatchObject(golden.words);
});
