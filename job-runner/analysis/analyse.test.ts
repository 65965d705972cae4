import { describe, expect, test } from 'vitest';
import { createLog } from '../../lib/log.ts';
import { Secret } from '../../lib/secret.ts';
import { TemporaryError } from '../errors.ts';
import type { OpenAiSettings } from '../settings.ts';
import { type AnalysisRequest, analyse, type Paid } from './analyse.ts';
import type { Question } from './openai.ts';
import { estimateTokens } from './pieces.ts';
import { answerSchema } from './schema.ts';

const SETTINGS: OpenAiSettings = {
  key: new Secret('k'),
  baseUrl: undefined,
  model: 'm',
  contextTokens: 2500,
  maxOutputTokens: 500,
  maxPieces: 20,
  timeoutMs: 1000,
  prices: { input: 1, output: 10 },
};
const REQUEST: AnalysisRequest = { model: 'm', schema: answerSchema({ type: 'object' }), instructions: 'List ships.' };
const pages = (count: number, length: number) =>
  Array.from({ length: count }, (_, at) => ({ page: at + 1, text: `${at + 1} `.padEnd(length, 'ship ') }));

/** A model that answers with what it was asked, in short. */
function setUp(
  settings: Partial<OpenAiSettings> = {},
  answer: (question: Question, at: number) => unknown = (_, at) => ({ at }),
) {
  const asked: Question[] = [];
  const kept = new Map<string, Paid>();
  let atOnce = 0;
  let most = 0;
  const run = (parts: Parameters<typeof analyse>[0], request = REQUEST) =>
    analyse(parts, request, {
      analyst: {
        ask: async (question) => {
          most = Math.max(most, ++atOnce);
          const at = asked.push(question) - 1;
          await Promise.resolve();
          atOnce--;
          return { value: answer(question, at), tokens: { input: 100, output: 10 } };
        },
      },
      memory: { get: (id) => kept.get(id), put: async (id, paid) => void kept.set(id, paid) },
      settings: { ...SETTINGS, ...settings },
      log: createLog('silent', {}),
      signal: new AbortController().signal,
    });
  return { asked, kept, run, most: () => most };
}

test('a document that fits is asked about once', async () => {
  const at = setUp();
  const analysis = await at.run(pages(2, 100));
  expect(analysis).toEqual({
    model: 'm',
    result: { at: 0 },
    pieces: 1,
    tokens: { input: 100, output: 10 },
    costUsd: 0.0002,
  });
  expect(at.asked[0]?.instructions).toMatch(/^You read documents[\s\S]*\nList ships\.$/);
  expect(at.asked[0]?.instructions).not.toContain('piece');
});

describe('a longer one', () => {
  test('is asked about in pieces, which are told their pages, and of the answers one is made', async () => {
    const at = setUp();
    const { result, pieces, tokens } = await at.run(pages(6, 2000));
    expect(pieces).toBe(3);
    expect(at.asked).toHaveLength(4);
    expect(at.asked.slice(0, 3).map(({ instructions }) => /This is piece .*/.exec(instructions)?.[0])).toEqual([
      'This is piece 1 of 3, pages 1 to 2: answer for this piece alone.',
      'This is piece 2 of 3, pages 3 to 4: answer for this piece alone.',
      'This is piece 3 of 3, pages 5 to 6: answer for this piece alone.',
    ]);
    expect(at.asked[3]?.input).toBe('[{"at":0},{"at":1},{"at":2}]');
    expect(at.asked[3]?.instructions).toContain('Make one answer about the whole document');
    expect(result).toEqual({ at: 3 });
    expect(tokens).toEqual({ input: 400, output: 40 });
  });

  test('never gives the model more than it takes', async () => {
    const at = setUp({}, () => ({ text: 'x'.repeat(1500) }));
    await at.run(pages(20, 2000));
    for (const { input, instructions, schema } of at.asked)
      expect(
        estimateTokens(input + instructions + JSON.stringify(schema.json)) + SETTINGS.maxOutputTokens,
      ).toBeLessThanOrEqual(SETTINGS.contextTokens);
    // Three of the answers fit together, so that it takes several rounds to make one of ten.
    expect(at.asked.length).toBeGreaterThan(12);
  });

  test('is asked about four pieces at a time', async () => {
    const at = setUp();
    await at.run(pages(20, 2000));
    expect(at.most()).toBe(4);
  });

  test('of which one piece fails, keeps what was answered', async () => {
    const at = setUp({}, (_, number) => {
      if (number === 2) throw new Error('no');
      return { number };
    });
    await expect(at.run(pages(12, 2000))).rejects.toThrow('no');
    const kept = at.kept.size;
    expect(kept).toBeGreaterThan(0);
    const before = at.asked.length;
    const { pieces } = await at.run(pages(12, 2000));
    expect(at.asked.length - before).toBe(pieces - kept + 1);
  });

  test('that would cost too much is refused before it costs anything', async () => {
    const at = setUp({ maxPieces: 2 });
    await expect(at.run(pages(6, 2000))).rejects.toMatchObject({
      name: 'PermanentError',
      message: expect.stringMatching(
        /^the document is too long .* 3 pieces of \d+ tokens, and OPENAI_MAX_PIECES is 2$/,
      ),
    });
    expect(at.asked).toEqual([]);
  });
});

test('what passes is asked once more, not for ever', async () => {
  let failures = 1;
  const flaky = setUp({}, () => {
    if (failures-- > 0) throw new TemporaryError('half an answer');
    return {};
  });
  expect((await flaky.run(pages(1, 10))).pieces).toBe(1);
  expect(flaky.asked).toHaveLength(2);
  const broken = setUp({}, () => {
    throw new TemporaryError('half an answer');
  });
  await expect(broken.run(pages(1, 10))).rejects.toThrow('half an answer');
  expect(broken.asked).toHaveLength(2);
});

test('no room for a document is a matter of the settings, which are named', async () => {
  await expect(setUp({ contextTokens: 1200 }).run(pages(1, 10))).rejects.toMatchObject({
    name: 'ConfigurationError',
    message: expect.stringMatching(
      /^OPENAI_CONTEXT_TOKENS = 1200 leaves \d+ tokens .*Raise the former or lower the latter$/,
    ),
  });
});

test('without prices nothing is said of the cost', async () => {
  expect((await setUp({ prices: undefined }).run(pages(1, 10))).costUsd).toBeUndefined();
});
