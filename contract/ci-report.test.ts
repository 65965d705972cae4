import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type CiReport, formatCiReport, parseCiReport } from './ci-report.ts';
import { MAX_REPORT_BYTES } from './runner-abi.ts';

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
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_REPORT_BYTES);
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

test.each(['', 'no json', '{"v":2}', '{"v":1,"status":"completed","webhook":"none"}'])('%s is none', (text) => {
  expect(parseCiReport(text)).toBeUndefined();
});
