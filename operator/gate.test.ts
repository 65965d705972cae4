import { expect, test } from 'vitest';
import { Gate } from './gate.ts';

test('all pass together, but for one that must be alone: it waits for those inside, and nobody new is let in', () => {
  const gate = new Gate();
  const first = gate.enter('a', false);
  const second = gate.enter('b', false);
  expect([first, second]).not.toContain(undefined);
  expect(gate.enter('suspect', true)).toBeUndefined();
  expect(gate.enter('c', false)).toBeUndefined();
  first?.[Symbol.dispose]();
  expect(gate.enter('suspect', true)).toBeUndefined();
  second?.[Symbol.dispose]();
  const alone = gate.enter('suspect', true);
  expect(alone).toBeDefined();
  expect([gate.enter('c', false), gate.enter('other suspect', true)]).toEqual([undefined, undefined]);
  alone?.[Symbol.dispose]();
  expect(gate.enter('c', false)).toBeDefined();
});

test('one that asks no more does not keep the others out', () => {
  const gate = new Gate();
  gate.enter('a', false);
  {
    using _asking = gate.asking('suspect');
    expect(gate.enter('suspect', true)).toBeUndefined();
    expect(gate.enter('b', false)).toBeUndefined();
  }
  expect(gate.enter('b', false)).toBeDefined();
});
