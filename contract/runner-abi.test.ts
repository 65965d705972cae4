import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyText } from '../testing/texts.ts';
import golden from './golden/runner-abi.json' with { type: 'json' };
import {
  EXIT,
  formatReport,
  MAX_REPORT_BYTES,
  PERMANENT_EXITS,
  parseReport,
  RUNNER_ENV,
  type RunnerReport,
} from './runner-abi.ts';

const text = fc.oneof(
  fc.string(),
  anyText(3000),
  fc.constantFrom('\u0001', '\ud800', '漢', 'x').chain((char) => fc.nat(4000).map((length) => char.repeat(length))),
);
// A metric of that name is dropped when the report is read.
const metricName = fc.string().filter((name) => name !== '__proto__');
const webhook = fc.constantFrom('delivered' as const, 'owed' as const, 'none' as const);
const report: fc.Arbitrary<RunnerReport> = fc.record(
  {
    v: fc.constant(1 as const),
    status: fc.constantFrom('completed' as const, 'failed' as const),
    webhook,
    error: fc.record({ code: text, message: text }),
    result: fc.oneof(fc.jsonValue(), text),
    resultUrl: text,
    truncated: fc.boolean(),
    metrics: fc.dictionary(metricName, fc.double({ noNaN: true, noDefaultInfinity: true })),
  },
  { requiredKeys: ['v', 'status', 'webhook'] },
);

const head = (text: string | undefined) => text?.slice(0, 60).toWellFormed();

test('the variables and exit codes that worker images rely on are still those', () => {
  expect(RUNNER_ENV).toMatchObject(golden.env);
  expect(EXIT).toMatchObject(golden.exit);
  expect(PERMANENT_EXITS).toEqual(golden.permanentExits);
});

describe('reports', () => {
  test.each(golden.reports)('$text', ({ report: written, text }) => {
    const read = parseReport(text);
    expect(read).toEqual(written);
    expect(read === undefined ? undefined : formatReport(read)).toBe(text);
  });

  test('any report fits, and keeps status, webhook state and the start of its error', () => {
    fc.assert(
      fc.property(report, (written) => {
        const text = formatReport(written);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_REPORT_BYTES);
        const read = parseReport(text);
        expect(read).toMatchObject({ v: 1, status: written.status, webhook: written.webhook });
        expect(read?.error === undefined).toBe(written.error === undefined);
        expect(head(read?.error?.code)).toBe(head(written.error?.code));
        if (written.result !== undefined && read?.result === undefined) expect(read?.truncated).toBe(true);
        if (written.resultUrl !== undefined && read?.resultUrl === undefined) expect(read?.truncated).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('a report that fits reads back as it was', () => {
    fc.assert(
      fc.property(report, (written) => {
        const whole = JSON.stringify(written);
        fc.pre(Buffer.byteLength(whole) <= MAX_REPORT_BYTES);
        expect(formatReport(written)).toBe(whole);
        expect(parseReport(whole)).toEqual(JSON.parse(whole));
      }),
    );
  });

  const least = { v: 1, status: 'failed', webhook: 'none' } as const;
  test.each<[string, RunnerReport, RunnerReport]>([
    [
      'the result goes first',
      { ...least, result: 'x'.repeat(4000), resultUrl: 'https://x/r' },
      { ...least, truncated: true, resultUrl: 'https://x/r' },
    ],
    [
      'then the error message is cut',
      { ...least, error: { code: 'C', message: 'm'.repeat(4000) }, resultUrl: 'https://x/r' },
      { ...least, error: { code: 'C', message: 'm'.repeat(400) }, resultUrl: 'https://x/r' },
    ],
    [
      'a result URL that does not fit goes last',
      { ...least, resultUrl: `https://x/${'u'.repeat(4000)}` },
      { ...least, truncated: true },
    ],
  ])('%s', (_, written, expected) => expect(parseReport(formatReport(written))).toEqual(expected));

  test.each([
    '',
    'killed',
    '{"v":1,"status":"completed"}',
    '{"v":2,"status":"completed","webhook":"none"}',
    '{"v":1,"status":"done","webhook":"none"}',
    '{"v":1,"status":"completed","webhook":"none"',
    'null',
    '[]',
    '{"v":1,"status":"failed","webhook":"none","error":"text"}',
  ])('a foreign or cut termination message is no report: %j', (text) => expect(parseReport(text)).toBeUndefined());
});
