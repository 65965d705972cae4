import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Claim, Rounds } from './rounds.ts';
import type { Room } from './slots.ts';

const INFINITE = () => Number.POSITIVE_INFINITY;
const room = (total: number, changes: Partial<Room> = {}): Room => ({
  total,
  ofClient: INFINITE,
  ofType: INFINITE,
  ...changes,
});
const claim = (client: string, wants: number, changes: Partial<Claim> = {}): Claim => ({
  queue: `${client}-tasks`,
  client,
  weight: 1,
  held: [],
  wants,
  ...changes,
});
const messages = (rounds: Rounds, claims: readonly Claim[], free: Room) =>
  Object.fromEntries(
    [...rounds.share(claims, free).messages].map(([queue, count]) => [queue.replace('-tasks', ''), count]),
  );

describe('free slots', () => {
  test('are divided evenly, and what one does not want is for the others', () => {
    expect(messages(new Rounds(), [claim('a', 32), claim('b', 2), claim('c', 32)], room(10))).toEqual({
      a: 4,
      b: 2,
      c: 4,
    });
  });

  test('are given by weight, over several divisions too', () => {
    const rounds = new Rounds();
    const claims = [claim('a', 32, { weight: 3 }), claim('b', 32)];
    const total = { a: 0, b: 0 };
    for (let at = 0; at < 40; at++) {
      const { a = 0, b = 0 } = messages(rounds, claims, room(1));
      total.a += a;
      total.b += b;
    }
    expect(total).toEqual({ a: 30, b: 10 });
  });

  test('pass over a client that is at its cap', () => {
    const ofClient = (client: string) => (client === 'a' ? 1 : 9);
    const share = new Rounds().share([claim('a', 9), claim('b', 9)], room(5, { ofClient }));
    expect(Object.fromEntries(share.messages)).toEqual({ 'a-tasks': 1, 'b-tasks': 4 });
    expect([share.room.total, share.room.ofClient('a'), share.room.ofClient('b')]).toEqual([0, 0, 5]);
  });

  test('go to held Jobs before messages, as far as their types have room', () => {
    const held = ['x', 'y', 'z'].map((name) => ({ name, client: 'a', type: name === 'y' ? 'full' : 'echo' }));
    const ofType = (type: string | undefined) => (type === 'full' ? 0 : 1);
    const share = new Rounds().share([claim('a', 9, { held })], room(5, { ofType }));
    expect(share.starts.map(({ job }) => job.name)).toEqual(['x']);
    expect(Object.fromEntries(share.messages)).toEqual({ 'a-tasks': 4 });
  });

  test('are left over when nobody wants them', () => {
    expect(new Rounds().share([claim('a', 2)], room(5)).room.total).toBe(3);
    expect(new Rounds().share([], room(5)).room.total).toBe(5);
  });
});

test('I11: who wants a slot gets one before any other gets more than its round, whoever comes and goes', () => {
  const clients = ['a', 'b', 'c', 'd', 'e'];
  const step = fc.record({
    free: fc.nat(6),
    wants: fc.array(fc.nat(40), { minLength: clients.length, maxLength: clients.length }),
  });
  const weights = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: clients.length, maxLength: clients.length });
  fc.assert(
    fc.property(weights, fc.array(step, { minLength: 1, maxLength: 40 }), (weight, steps) => {
      const rounds = new Rounds();
      /** Since each began to wait without getting anything: what every other has got. */
      const waiting = new Map<string, Map<string, number>>();
      for (const { free, wants } of steps) {
        const claims = clients.flatMap((client, at) =>
          (wants[at] ?? 0) > 0 ? [claim(client, wants[at] ?? 0, { weight: weight[at] ?? 1 })] : [],
        );
        const got = messages(rounds, claims, room(free));
        const given = Object.values(got).reduce((sum, count) => sum + count, 0);
        const wanted = claims.reduce((sum, one) => sum + one.wants, 0);
        expect(given).toBe(Math.min(free, wanted));
        for (const [at, client] of clients.entries()) {
          if (!claims.some((one) => one.client === client) || got[client] !== undefined) {
            waiting.delete(client);
            continue;
          }
          const others = waiting.get(client) ?? new Map<string, number>();
          waiting.set(client, others);
          for (const [other, count] of Object.entries(got)) others.set(other, (others.get(other) ?? 0) + count);
          for (const [other, count] of others) {
            // One round, and what was left of the turn under way.
            const most = 2 * (weight[clients.indexOf(other)] ?? 1) - 1;
            expect(count, `${other} while ${client} (weight ${weight[at]}) waits`).toBeLessThanOrEqual(
              Math.max(1, most),
            );
          }
        }
      }
    }),
    { numRuns: 500 },
  );
});
