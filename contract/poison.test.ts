import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyText } from '../testing/texts.ts';
import golden from './golden/poison.json' with { type: 'json' };
import { formatEnvelope, MAX_MESSAGE_BYTES, type PoisonEnvelope, parseEnvelope } from './poison.ts';

const text = fc.oneof(fc.string(), anyText());
const long = fc.oneof(text, fc.constantFrom('r'.repeat(70_000), '\u0000'.repeat(15_000), '漢'.repeat(30_000)));
/** Anything that can have been a queue message, with lengths near the limit. */
const original = fc
  .oneof(
    long,
    fc.integer({ min: 64_000, max: MAX_MESSAGE_BYTES }).map((length) => 'o'.repeat(length)),
    fc.integer({ min: 10_000, max: 33_000 }).map((length) => '"'.repeat(length)),
  )
  .filter((any) => any.isWellFormed() && Buffer.byteLength(any) <= MAX_MESSAGE_BYTES);
const envelope: fc.Arbitrary<PoisonEnvelope> = fc.record({
  slipway: fc.constant(1 as const),
  id: fc.uuid(),
  queue: fc.constant('acme-tasks'),
  reason: long,
  diagnosis: fc.record({ category: fc.constant('TaskFailed'), message: long, hint: fc.string() }),
  attempts: fc.array(
    fc.record({ finishedAt: fc.option(fc.string()), exitCode: fc.option(fc.integer()), reason: fc.string() }),
    { maxLength: 20 },
  ),
  insertedOn: fc.option(fc.string()),
  poisonedOn: fc.string(),
  encoding: fc.constantFrom('plain' as const, 'base64' as const, 'unknown' as const),
  original,
});

describe('formatEnvelope', () => {
  test.each(golden.envelopes)('I14: $envelope.encoding: $text', ({ envelope: written, text: expected }) => {
    expect(parseEnvelope(expected)).toEqual(written);
    const read = parseEnvelope(expected);
    expect(read && formatEnvelope(read)).toBe(expected);
  });

  test('I14: whatever the envelope, the copy fits into a message and keeps the original as received', () => {
    fc.assert(
      fc.property(envelope, (written) => {
        const copy = formatEnvelope(written);
        expect(Buffer.byteLength(copy)).toBeLessThanOrEqual(MAX_MESSAGE_BYTES);
        expect(parseEnvelope(copy)?.original ?? copy).toBe(written.original);
      }),
      { numRuns: 300 },
    );
  });

  test('reason and diagnosis are shortened before the envelope is given up', () => {
    const base = parseEnvelope(golden.envelopes[0]?.text ?? '');
    if (base === undefined) throw new Error('the golden envelope cannot be read');
    const copy = (length: number) =>
      formatEnvelope({ ...base, reason: 'r'.repeat(4000), original: 'o'.repeat(length) });
    expect(parseEnvelope(copy(60_000))).toMatchObject({ reason: 'r'.repeat(4000), attempts: base.attempts });
    expect(parseEnvelope(copy(64_000))).toMatchObject({ reason: 'r'.repeat(200), attempts: [] });
    expect(copy(65_400)).toBe('o'.repeat(65_400));
  });

  test('holds no character that XML, which carries queue messages, refuses', () => {
    const base = parseEnvelope(golden.envelopes[0]?.text ?? '');
    if (base === undefined) throw new Error('the golden envelope cannot be read');
    fc.assert(
      fc.property(anyText(), (any) => {
        const hostile = `${any}\u0000\u000b\u001f\ufffe\uffff\ud800`;
        const copy = formatEnvelope({ ...base, reason: hostile });
        expect(copy).toMatch(/^[\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]*$/u);
        expect(parseEnvelope(copy)?.reason).toBe(hostile);
      }),
    );
  });
});

test.each(['', 'not JSON', '{}', '{"task_id":"t","task_type":"echo"}', '{"slipway":2}', 'null'])(
  'a bare original is no envelope: %j',
  (bare) => expect(parseEnvelope(bare)).toBeUndefined(),
);
