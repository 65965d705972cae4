import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NO_TESTS, readJunit, together } from './junit.ts';

async function summary(...reports: string[]) {
  let all = NO_TESTS;
  for (const xml of reports) {
    const read = await readJunit([xml]);
    if ('problem' in read) throw new Error(read.problem);
    all = together(all, read.summary);
  }
  return all;
}

test('a report as most programs write it', async () => {
  expect(
    await summary(`<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="harbour" tests="4" time="3.5">
    <testcase classname="tides" name="rise" time="0.5"/>
    <testcase classname="tides" name="fall" time="2"><failure message="expected 1 &amp; got 2" type="AssertionError">at line 7</failure></testcase>
    <testcase classname="tides" name="stand" time="1"><error type="TypeError">no tide</error></testcase>
    <testcase classname="tides" name="turn"><skipped/></testcase>
  </testsuite>
</testsuites>`),
  ).toEqual({
    tests: 4,
    passed: 1,
    failed: 2,
    skipped: 1,
    seconds: 3.5,
    failures: [
      { name: 'tides › fall', message: 'expected 1 & got 2', kind: 'failure' },
      { name: 'tides › stand', message: 'no tide', kind: 'error' },
    ],
    slowest: [
      { name: 'tides › fall', seconds: 2 },
      { name: 'tides › stand', seconds: 1 },
      { name: 'tides › rise', seconds: 0.5 },
    ],
  });
});

test('suites within suites, one alone, several reports, and names without a class', async () => {
  const nested =
    '<testsuites><testsuite><testsuite><testcase name="a"/></testsuite><testcase name="b" file="b.js"/></testsuite></testsuites>';
  expect(await summary(nested, '<testsuite><testcase name="c"/></testsuite>')).toMatchObject({
    tests: 3,
    passed: 3,
    seconds: undefined,
  });
  const [failed] = (await summary('<testsuite><testcase name="c" file="c.js"><failure/></testcase></testsuite>'))
    .failures;
  expect(failed).toEqual({ name: 'c.js › c', message: '', kind: 'failure' });
});

test('ten thousand tests, of which the first failures and the slowest are told', async () => {
  const cases = Array.from(
    { length: 10_000 },
    (_, at) =>
      `<testcase name="t${at}" time="${at / 1000}">${at % 10 === 0 ? '<failure message="no"/>' : ''}</testcase>`,
  );
  const all = await summary(`<testsuite>${cases.join('')}</testsuite>`);
  expect(all).toMatchObject({
    tests: 10_000,
    failed: 1000,
    slowest: [{ name: 't9999', seconds: 9.999 }, {}, {}, {}, {}],
  });
  expect(all.failures).toHaveLength(20);
});

test('times with separators, and such as are none', async () => {
  expect(
    (await summary('<testsuite><testcase name="a" time="1,234.5"/><testcase name="b" time="long"/></testsuite>'))
      .seconds,
  ).toBe(1234.5);
});

test.each(['1e306', '1e308', 'Infinity', '-1', '-1e306', '1000000001', 'NaN'])('a time of %s is none', async (time) => {
  const wrong = `<testcase name="a" time="${time}"/>`.repeat(200);
  const all = await summary(`<testsuite>${wrong}<testcase name="b" time="1.5"/></testsuite>`);
  expect(all).toMatchObject({ tests: 201, passed: 201, seconds: 1.5, slowest: [{ name: 'b', seconds: 1.5 }] });
  expect((await summary(`<testsuite>${wrong}</testsuite>`)).seconds).toBeUndefined();
});

test('the longest times come to a number that JSON knows', async () => {
  const report = `<testsuite>${'<testcase name="a" time="1e9"/>'.repeat(1000)}</testsuite>`;
  expect((await summary(...Array.from({ length: 20 }, () => report))).seconds).toBe(2e13);
});

describe('what cannot be read is said, and harms nothing', () => {
  test.each([
    ['no XML', 'all tests passed', /^is no XML/],
    ['cut off', '<testsuites><testsuite><testcase name="a"', /^is no XML/],
    ['another form', '<coverage/>', /^has neither testsuites nor testsuite$/],
    ['nothing', '', /./],
  ])('%s', async (_, xml, expected) => {
    expect(await readJunit([xml])).toEqual({ problem: expect.stringMatching(expected) });
  });

  test('entities that would make it grow without bound', async () => {
    const levels = Array.from({ length: 12 }, (_, at) => `<!ENTITY l${at + 1} "${`&l${at};`.repeat(10)}">`).join('');
    const xml = `<!DOCTYPE x [<!ENTITY l0 "ha">${levels}]><testsuite><testcase name="&l12;"/></testsuite>`;
    expect(await readJunit([xml])).toEqual({ problem: expect.stringMatching(/^is no XML: Invalid character entity/) });
  });

  test('suites without end', async () => {
    const xml = `${'<testsuite>'.repeat(200)}<testcase name="a"/>${'</testsuite>'.repeat(200)}`;
    expect(await readJunit([xml])).toEqual({ problem: 'has elements in elements, more than 100 deep' });
  });
});

const MANY = `<?xml version="1.0"?>
<testsuites><!-- a comment --><testsuite name="a"><properties><property name="x" value="y"/></properties>
<testcase classname="k" name="grüße › 漢字 🚢" time="0.25"><system-out><![CDATA[<testcase name="not one"/>]]></system-out></testcase>
<testcase name="b" time="1e-3"><failure>  left &lt;1&gt;<![CDATA[ and right ]]>2  </failure><failure message="another"/></testcase>
<testcase name="c"><error type="Broken"/><system-err>words</system-err></testcase>
<testcase name="d"><skipped message="later"/></testcase></testsuite></testsuites>`;

/** As a file is read. */
const pieces = (text: string) =>
  Array.from({ length: Math.ceil(text.length / 65_536) }, (_, at) => text.slice(at * 65_536, (at + 1) * 65_536));

test('what is cut anywhere comes to the same', async () => {
  const whole = await readJunit([MANY]);
  expect(whole).toMatchObject({
    summary: {
      tests: 4,
      passed: 1,
      failed: 2,
      skipped: 1,
      seconds: 0.251,
      failures: [
        { name: 'b', message: 'left <1> and right 2', kind: 'failure' },
        { name: 'c', message: 'Broken', kind: 'error' },
      ],
      slowest: [{ name: 'k › grüße › 漢字 🚢' }, { name: 'b' }],
    },
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(MANY.length), { maxLength: 20 }), async (cuts) => {
      const at = [0, ...cuts.toSorted((a, b) => a - b), MANY.length];
      expect(await readJunit(at.slice(1).map((end, index) => MANY.slice(at[index], end)))).toEqual(whole);
    }),
  );
});

test('a long message, and one that is longer than any', async () => {
  const report = (message: string) =>
    readJunit(pieces(`<testsuite><testcase name="a"><failure message="${message}"/></testcase></testsuite>`));
  expect(await report('x'.repeat(1_000_000))).toMatchObject({ summary: { failures: [{ message: 'x'.repeat(500) }] } });
  expect(await report('x'.repeat(5_000_000))).toEqual({ problem: expect.stringMatching(/^is no XML: Max buffer/) });
});
