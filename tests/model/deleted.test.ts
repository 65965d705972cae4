/** `kubectl delete job`, and the deletion of the namespace: what becomes of the task, by who could see it. */
import { describe, expect, test } from 'vitest';
import type { Kind } from '#/testing/model/messages.ts';
import { type Command, Play } from '#/testing/model/play.ts';

const start: Command = { do: 'start operator' };
const remove: Command = { do: 'delete Job', which: -1 };
const pass = (seconds: number): Command => ({ do: 'pass', seconds });
const running = (kind: Kind): readonly Command[] => [{ do: 'send', kind }, start, pass(5)];

async function play(commands: readonly Command[]) {
  await using play = new Play();
  for (const command of commands) await play.run(command);
  const violations = await play.finish();
  const jobs = [...play.ledger.entries.values()].map((entry) => entry.jobs);
  return { violations, endings: play.endings(), jobs };
}

describe('I7: a task whose Job is deleted while it runs', () => {
  test.each<[string, readonly Command[], string, number]>([
    ['is cancelled when an operator sees it', [...running('outlasts its lease'), remove, pass(60)], 'cancelled', 1],
    ['is reported', [...running('hangs'), remove, pass(60)], 'cancelled, told that it failed', 1],
    [
      'is cancelled when contact is lost right after',
      [...running('outlasts its lease'), remove, { do: 'watches break' }, pass(60)],
      'cancelled',
      1,
    ],
    [
      'runs again when no watch told of it',
      [...running('outlasts its lease'), { do: 'watches break' }, remove, pass(60)],
      'completed',
      2,
    ],
    [
      'runs again when no operator ran',
      [...running('outlasts its lease'), { do: 'kill operator', which: 0 }, remove, pass(60), start, pass(60)],
      'completed',
      2,
    ],
    [
      'runs again when its operator dies before its pod is gone',
      [...running('is slow to stop'), remove, pass(10), { do: 'kill operator', which: 0 }],
      'completed',
      2,
    ],
    [
      'runs again when it goes with its namespace',
      [...running('outlasts its lease'), { do: 'delete namespace', seconds: 30 }, pass(60)],
      'completed',
      2,
    ],
  ])('%s', async (_, commands, ending, jobs) => {
    const told = await play(commands);
    expect(told.violations).toEqual([]);
    expect(told.endings).toEqual([expect.stringMatching(new RegExp(`: ${ending}$`))]);
    expect(told.jobs).toEqual([jobs]);
  });
});

test('I2: a task that has failed keeps its outcome when its Job is deleted before it is settled', async () => {
  const told = await play([
    { do: 'fault', cell: { step: 'patch outcome', fault: '503 ServiceUnavailable' }, times: 3 },
    { do: 'send', kind: 'fails' },
    start,
    { do: 'pass', seconds: 60 },
    remove,
    pass(60),
  ]);
  expect(told.violations).toEqual([]);
  expect(told.endings).toEqual(['fails: failed, poisoned, told that it failed']);
});
