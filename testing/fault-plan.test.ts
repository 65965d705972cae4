import { expect, test } from 'vitest';
import { faultPlan } from '#/testing/fault-plan.ts';
import { type Fault, faultName } from '#/testing/fault-proxy.ts';
import { azureError } from '#/testing/fault-servers.ts';

const FAULTS: readonly Fault[] = [{ kind: 'hang' }, { kind: 'reset' }, azureError(500)];

/** A plan, and calls that suffer what it says, in a proxy where everything (or what `happens` says) comes to pass. */
function bench(seed: number, happens: (fault: string) => boolean = () => true) {
  const done: string[] = [];
  const cell = (fault?: string, operation?: string) => `${fault} of ${operation}`;
  const plan = faultPlan({
    proxy: { injected: (fault, operation) => done.filter((one) => one === cell(fault, operation)).length },
    operations: { put: { faults: FAULTS, first: 1 }, receive: { faults: FAULTS, first: 0.5 } },
    seed,
    afterwards: { share: 0.5, calls: 100 },
  });
  const call = (operation: string) => {
    const fault = plan.script({ method: 'GET', path: '/', operation, at: 0 });
    const name = fault && faultName(fault);
    if (name !== undefined && happens(name)) done.push(cell(name, operation));
    return name;
  };
  return { ...plan, calls: (operation: string, count: number) => Array.from({ length: count }, () => call(operation)) };
}

test('every fault is done first, in an order that the seed decides', () => {
  const [first, again] = [bench(1).calls('put', 3), bench(1).calls('put', 3)];
  expect(first.toSorted()).toEqual(['hang', 'reset', 'status 500']);
  expect(again).toEqual(first);
  const orders = [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => bench(seed).calls('put', 3).join());
  expect(new Set(orders).size).toBeGreaterThan(1);
});

test('a fault that never came to pass is chosen again', () => {
  let tries = 0;
  const { calls, left } = bench(1, (fault) => fault !== 'hang' || ++tries > 2);
  expect(calls('put', 5).filter((fault) => fault === 'hang')).toHaveLength(3);
  expect(left('put')).toEqual([]);
});

test('after the first round some calls are hit and some are not, and in the end none; others never', () => {
  const { calls, left } = bench(3);
  calls('put', 3);
  expect(left('put')).toEqual([]);
  expect(left()).toHaveLength(3);
  const hits = calls('put', 97).filter((hit) => hit !== undefined).length;
  expect(hits).toBeGreaterThan(20);
  expect(hits).toBeLessThan(77);
  expect(new Set(calls('put', 50))).toEqual(new Set([undefined]));
  // What was not done yet is done, however late.
  expect(calls('receive', 50).filter((hit) => hit !== undefined)).toHaveLength(3);
  expect(left()).toEqual([]);
  expect(new Set(calls('list', 100))).toEqual(new Set([undefined]));
});
