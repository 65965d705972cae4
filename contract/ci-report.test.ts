import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type CiReport, formatCiReport, MAX_CI_REPORT_BYTES, parseCiReport } from './ci-report.ts';

const failure = (name: string, message: string) => ({ name, message, kind: 'failure' as const });
const REPORT: CiReport = {
  v: 1,
  tests: {
    tests: 3,
    passed: 2,
    failed: 1,
    skipped: 0,
    seconds: 1.5,
    failures: [failure('a', 'no')],
    slowest: [{ name: 'a', seconds: 1 }],
  },
  artifacts: [{ path: 'logs/a.log', bytes: 7, url: 'https://blobs.example/a' }],
  artifactCount: 1,
  problems: [],
  url: 'https://blobs.example/report.json',
};

test('what fits is written as it is, and read again', () => {
  expect(parseCiReport(formatCiReport(REPORT))).toEqual(REPORT);
});

test('whatever it holds, it fits, and keeps counts and the place of the whole', () => {
  const words = fc.string({ maxLength: 2000, unit: 'grapheme' });
  const report = fc.record({
    v: fc.constant(1 as const),
    tests: fc.record({
      tests: fc.nat(),
      passed: fc.nat(),
      failed: fc.nat(),
      skipped: fc.nat(),
      failures: fc.array(
        fc.record({ name: words, message: words, kind: fc.constantFrom('failure' as const, 'error' as const) }),
        { maxLength: 30 },
      ),
      slowest: fc.array(fc.record({ name: words, seconds: fc.nat() }), { maxLength: 10 }),
    }),
    artifacts: fc.array(fc.record({ path: words, bytes: fc.nat(), url: words }), { maxLength: 30 }),
    artifactCount: fc.nat(),
    problems: fc.array(words, { maxLength: 30 }),
    url: fc.constant('https://blobs.example/report.json'),
  });
  fc.assert(
    fc.property(report, (one) => {
      const text = formatCiReport(one);
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_CI_REPORT_BYTES);
      const { tests, passed, failed, skipped } = one.tests;
      expect(parseCiReport(text)).toMatchObject({
        tests: { tests, passed, failed, skipped },
        artifactCount: one.artifactCount,
        url: one.url,
      });
    }),
    { numRuns: 200 },
  );
});

/** As large as a sidecar's can be, as far as the lists go. */
const large = (words: string): CiReport => ({
  v: 1,
  tests: {
    tests: 123_456,
    passed: 123_000,
    failed: 400,
    skipped: 56,
    seconds: 1234.567,
    failures: Array.from({ length: 20 }, () => failure(words, words)),
    slowest: Array.from({ length: 5 }, () => ({ name: words, seconds: 1.234 })),
  },
  artifacts: Array.from({ length: 500 }, () => ({
    path: 'p'.repeat(100),
    bytes: 123_456_789,
    url: 'u'.repeat(250),
  })),
  artifactCount: 500,
  problems: Array.from({ length: 101 }, () => words),
  url: `https://${'a'.repeat(24)}.blob.core.windows.net/${'c'.repeat(63)}/${'d'.repeat(63)}/${'e'.repeat(63)}.tests.json`,
});

test.each([
  ['letters', 'x'.repeat(500), 2, 100],
  ['letters of three bytes', '漢'.repeat(500), 2, 50],
  ['what takes six bytes each', '\0'.repeat(500), 1, 30],
])('of the largest report in %s some failures and a problem stay', (_, words, failures, length) => {
  const text = formatCiReport(large(words));
  // With eight containers, the kubelet's 12 KiB are 1536 bytes for each.
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(12_288 / 8);
  const report = parseCiReport(text.slice(0, 12_288 / 8));
  expect(report?.tests?.failures.map((one) => one.message.length)).toEqual(Array(failures).fill(length));
  expect(report?.problems.map((one) => one.length)).toEqual([length]);
  expect(report).toMatchObject({ tests: { tests: 123_456, failed: 400 }, artifactCount: 500, url: large('').url });
});

test('a place that does not fit is left out, and the counts are told', () => {
  const report = parseCiReport(formatCiReport({ ...REPORT, url: `https://${'a'.repeat(2000)}` }));
  expect(report).toMatchObject({ tests: { tests: 3, failed: 1 }, artifactCount: 1 });
  expect(report?.url).toBeUndefined();
});

test.each(['', 'no json', '{"v":2}', '{"v":1,"status":"completed","webhook":"none"}'])('%s is none', (text) => {
  expect(parseCiReport(text)).toBeUndefined();
});
