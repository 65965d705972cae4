import { describe, expect, test } from 'vitest';
import { answerSchema } from './schema.ts';

test('by default: a summary, entities and key points, to the letter', () => {
  const schema = answerSchema(undefined);
  expect(schema.strict).toBe(true);
  expect(Object.keys(schema.json['properties'] as object)).toEqual(['summary', 'entities', 'key_points']);
  const good = { summary: 's', entities: [{ name: 'n', type: 'place' }], key_points: [] };
  expect(schema.check(good)).toEqual({ value: good });
  expect(schema.check({ ...good, more: 1 })).toHaveProperty('problem');
  expect(schema.check({ ...good, entities: [{ name: 'n', type: 'ghost' }] })).toEqual({
    problem: expect.stringMatching(/^entities\.0\.type: /),
  });
  expect(schema.check('text')).toHaveProperty('problem');
});

describe('one of the payload', () => {
  const closed = {
    type: 'object',
    properties: {
      a: { type: 'string' },
      b: { type: 'object', properties: {}, required: [], additionalProperties: false },
    },
    required: ['a', 'b'],
    additionalProperties: false,
  };
  test('that is closed is held to the letter', () => expect(answerSchema(closed).strict).toBe(true));
  test.each([
    ['open', { ...closed, additionalProperties: undefined }],
    ['with a property that may be missing', { ...closed, required: ['a'] }],
    ['open inside', { ...closed, properties: { ...closed.properties, b: { type: 'object', properties: { c: {} } } } }],
  ])('%s is only asked for', (_, schema) => {
    const { type, ...rest } = JSON.parse(JSON.stringify(schema)) as Record<string, unknown>;
    expect(answerSchema({ type, ...rest }).strict).toBe(false);
  });
  test('checks the answer', () => {
    const { check } = answerSchema({
      type: 'object',
      properties: { n: { type: 'integer', minimum: 1 } },
      required: ['n'],
    });
    expect(check({ n: 1 })).toEqual({ value: { n: 1 } });
    expect(check({ n: 0 })).toEqual({ problem: expect.stringMatching(/^n: /) });
    expect(check({})).toHaveProperty('problem');
  });
});
