import { describe, expect, test } from 'vitest';
import { readJunit, summarise } from './junit.ts';

const summary = (...reports: string[]) =>
  summarise(
    reports.flatMap((xml) => {
      const read = readJunit(xml);
      if ('problem' in read) throw new Error(read.problem);
      return read.cases;
    }),
  );

test('a report as most programs write it', () => {
  expect(
    summary(`<?xml version="1.0" encoding="UTF-8"?>
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

test('suites within suites, one alone, several reports, and names without a class', () => {
  const nested =
    '<testsuites><testsuite><testsuite><testcase name="a"/></testsuite><testcase name="b" file="b.js"/></testsuite></testsuites>';
  expect(summary(nested, '<testsuite><testcase name="c"/></testsuite>')).toMatchObject({
    tests: 3,
    passed: 3,
    seconds: undefined,
  });
  const [failed] = summary('<testsuite><testcase name="c" file="c.js"><failure/></testcase></testsuite>').failures;
  expect(failed).toEqual({ name: 'c.js › c', message: '', kind: 'failure' });
});

test('ten thousand tests, of which the first failures and the slowest are told', () => {
  const cases = Array.from(
    { length: 10_000 },
    (_, at) =>
      `<testcase name="t${at}" time="${at / 1000}">${at % 10 === 0 ? '<failure message="no"/>' : ''}</testcase>`,
  );
  const all = summary(`<testsuite>${cases.join('')}</testsuite>`);
  expect(all).toMatchObject({
    tests: 10_000,
    failed: 1000,
    slowest: [{ name: 't9999', seconds: 9.999 }, {}, {}, {}, {}],
  });
  expect(all.failures).toHaveLength(20);
});

test('times with separators, and such as are none', () => {
  expect(
    summary('<testsuite><testcase name="a" time="1,234.5"/><testcase name="b" time="long"/></testsuite>').seconds,
  ).toBe(1234.5);
});

describe('what cannot be read is said, and harms nothing', () => {
  test.each([
    ['no XML', 'all tests passed', /^is no XML/],
    ['cut off', '<testsuites><testsuite><testcase name="a"', /^is no XML/],
    ['another form', '<coverage/>', /^has neither testsuites nor testsuite$/],
    ['nothing', '', /./],
  ])('%s', (_, xml, expected) => {
    expect(readJunit(xml)).toEqual({ problem: expect.stringMatching(expected) });
  });

  test('entities that would make it grow without bound', () => {
    const levels = Array.from({ length: 12 }, (_, at) => `<!ENTITY l${at + 1} "${`&l${at};`.repeat(10)}">`).join('');
    const xml = `<!DOCTYPE x [<!ENTITY l0 "ha">${levels}]><testsuite><testcase name="&l12;"/></testsuite>`;
    const read = readJunit(xml);
    if (!('problem' in read)) expect(JSON.stringify(read).length).toBeLessThan(10_000);
  });

  test('suites without end', () => {
    const xml = `${'<testsuite>'.repeat(200)}<testcase name="a"/>${'</testsuite>'.repeat(200)}`;
    const read = readJunit(xml);
    if (!('problem' in read)) expect(read.cases).toEqual([]);
  });
});
