import { describe, expect, test } from 'vitest';
import { diagnose } from '../contract/diagnosis.ts';
import { formatEnvelope, type PoisonEnvelope } from '../contract/poison.ts';
import { type Copy, detailsOf, groupCopies, summaryOf } from './poisoned.ts';

const QUEUE = 'acme-tasks-poison';

function copy(messageId: string, more: Partial<PoisonEnvelope> = {}): Copy {
  const text = formatEnvelope({
    slipway: 1,
    id: 'm-1',
    queue: 'acme-tasks',
    reason: 'TaskFailed: no such file',
    diagnosis: diagnose('TaskFailed', 'no such file'),
    attempts: [{ finishedAt: null, exitCode: 1, reason: 'Error' }],
    insertedOn: null,
    poisonedOn: '2026-01-01T00:00:00.000Z',
    encoding: 'plain',
    original: '{"task_id":"t-1","task_type":"echo"}',
    ...more,
  });
  return { messageId, text, insertedOn: Date.UTC(2026, 0, 2) };
}

describe('grouping', () => {
  test('copies with one id are one task, told by the latest', () => {
    const later = copy('p-2', { attempts: [], poisonedOn: '2026-01-01T00:00:09.000Z' });
    for (const copies of [
      [copy('p-1'), later],
      [later, copy('p-1')],
    ]) {
      const tasks = groupCopies(QUEUE, copies);
      expect(tasks).toMatchObject([{ id: 'm-1', poisonedOn: '2026-01-01T00:00:09.000Z', contradictory: false }]);
      expect(tasks[0]?.copies).toHaveLength(2);
    }
  });

  test('the longest poisoned comes first', () => {
    const ids = groupCopies(QUEUE, [
      copy('p-1', { id: 'young', poisonedOn: '2026-01-03T00:00:00.000Z' }),
      copy('p-2', { id: 'old' }),
      { ...copy('bare'), text: 'no envelope' },
    ]).map(({ id }) => id);
    expect(ids).toEqual(['old', 'bare', 'young']);
  });

  test.each<[what: string, more: Partial<PoisonEnvelope>]>([
    ['originals', { original: '{}' }],
    ['queues', { queue: 'globex-tasks' }],
  ])('copies of different %s contradict each other', (_, more) => {
    expect(groupCopies(QUEUE, [copy('p-1'), copy('p-2', more)])).toMatchObject([{ contradictory: true }]);
  });
});

test('of a bare original what can be read is shown', () => {
  const text = Buffer.from('{"task_id":"t-2","task_type":"echo"}').toString('base64');
  const [task] = groupCopies(QUEUE, [{ ...copy('p-1'), text }]);
  expect(summaryOf(task!)).toEqual({
    queue: QUEUE,
    id: 'p-1',
    taskId: 't-2',
    taskType: 'echo',
    poisonedOn: '2026-01-02T00:00:00.000Z',
    insertedOn: null,
    attempts: null,
    category: null,
    reason: null,
    copies: 1,
    bare: true,
  });
  expect(detailsOf(task!)).toMatchObject({ original: text, diagnosis: null, taskQueue: null });
});
