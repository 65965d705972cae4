import { describe, expect, test } from 'vitest';
import { parseRate, rateOf, usageOf } from './usage.ts';

/** The defaults of prices.aci: Linux, East US, US dollars, October 2026. */
const ACI = { vcpuSecond: 0.00001125, gibSecond: 0.00000124 };

test('what so many seconds take, and cost where there is a price', () => {
  expect(usageOf(rateOf(0.5, 4, ACI), 60)).toEqual({ vcpu_seconds: 30, gib_seconds: 240, cost: 0.0006351 });
  expect(usageOf(rateOf(0.5, 4, undefined), 60)).toEqual({ vcpu_seconds: 30, gib_seconds: 240 });
  expect(usageOf(rateOf(1, 2, ACI), 0)).toEqual({ vcpu_seconds: 0, gib_seconds: 0, cost: 0 });
});

test('50 tasks a day of 60 s, with 1 vCPU and 2 GiB, cost two to three dollars a month', () => {
  const monthly = (startSeconds: number) =>
    50 * 30.4 * (usageOf(rateOf(1, 2, ACI), 60 + startSeconds).cost ?? Number.NaN);
  // Billed from the start of the image pull: 40 s of it, and 60.
  expect(monthly(40)).toBeCloseTo(2.09, 2);
  expect(monthly(60)).toBeCloseTo(2.5, 1);
});

describe('a rate', () => {
  test('is read as it was written', () => {
    const rate = rateOf(2, 8, ACI);
    expect(parseRate(JSON.stringify(rate))).toEqual(rate);
  });

  test.each([undefined, '', 'no json', '{}', '{"vcpu":-1,"gib":1}', '[1,2]'])(
    'that is none is not made up: %s',
    (text) => expect(parseRate(text)).toBeUndefined(),
  );
});
