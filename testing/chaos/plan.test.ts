import { expect, test } from 'vitest';
import { chaosPlan, describePlan } from '#/testing/chaos/plan.ts';
import { SHARES } from '#/testing/chaos/tasks.ts';

const OPTIONS = { seed: 1, tasks: 1000, kills: 20, replicas: 2, spanMs: 120_000 };

test('a seed makes one plan, and another seed another', () => {
  expect(chaosPlan(OPTIONS)).toEqual(chaosPlan(OPTIONS));
  expect(chaosPlan({ ...OPTIONS, seed: 2 }).puts).not.toEqual(chaosPlan(OPTIONS).puts);
});

test.each([1, 2, 3, 4, 5])('a plan has what was asked for, in order of time and in its span (seed %i)', (seed) => {
  const { puts, kills, outages } = chaosPlan({ ...OPTIONS, seed });
  expect(puts).toHaveLength(1000);
  expect(new Set(puts.map(({ id }) => id)).size).toBe(1000);
  expect(new Set(puts.map(({ kind }) => kind))).toEqual(new Set(Object.keys(SHARES)));
  expect(kills).toHaveLength(20);
  expect(new Set(kills.map(({ replica }) => replica))).toEqual(new Set([0, 1]));
  expect(kills.filter(({ leader }) => leader)).toHaveLength(2);
  expect(outages.map(({ kind }) => kind).sort()).toEqual(['api-killed', 'api-stopped', 'queue-busy', 'queue-hangs']);
  for (const list of [puts, kills, outages]) {
    const times = list.map(({ atMs }) => atMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(times.every((atMs) => atMs >= 0 && atMs < OPTIONS.spanMs)).toBe(true);
  }
});

test('outages of one server do not meet, and a longer run has more of them', () => {
  const { outages } = chaosPlan({ ...OPTIONS, spanMs: 1_200_000 });
  for (const server of ['api', 'queue']) {
    const ofIt = outages.filter(({ kind }) => kind.startsWith(server));
    expect(ofIt).toHaveLength(20);
    for (const [at, { atMs }] of ofIt.entries()) {
      const before = ofIt[at - 1];
      if (before !== undefined) expect(atMs).toBeGreaterThanOrEqual(before.atMs + before.forMs);
    }
  }
});

test('after the leader is killed for good, nobody is killed until another can have taken over', () => {
  const { kills } = chaosPlan(OPTIONS);
  for (const [at, { leader, atMs }] of kills.entries())
    if (leader) expect(kills[at + 1]?.atMs ?? Number.POSITIVE_INFINITY).toBeGreaterThanOrEqual(atMs + 20_000);
});

test('a plan is told to people: seed, kills and outages', () => {
  const lines = describePlan(chaosPlan(OPTIONS)).join('\n');
  expect(lines).toContain('seed 1: 1000 messages in 120.0 s, 2 replicas');
  expect(lines.match(/replica [01]/g)).toHaveLength(20);
  expect(lines).toMatch(/api-killed: from [\d.]+ s for [\d.]+ s/);
});
