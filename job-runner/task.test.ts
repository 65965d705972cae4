import { expect, test } from 'vitest';
import { readTask } from './task.ts';

test('a task', () => {
  expect(readTask('{"task_id":"1","task_type":"echo","payload":[1],"webhook_url":"https://example.com/h"}')).toEqual({
    kind: 'valid',
    task: { taskId: '1', taskType: 'echo', payload: [1], webhookUrl: 'https://example.com/h' },
  });
});

test('what is no task is malformed, and who wants to know is read as far as possible', () => {
  expect(readTask('{"task_id":7,"task_type":"echo","payload":1,"webhook_url":"https://example.com/h"}')).toMatchObject({
    kind: 'invalid',
    error: { code: 'Malformed', message: 'TASK_DATA is no task: task_id must be a string, got a number' },
    taskId: undefined,
    webhookUrl: 'https://example.com/h',
  });
  expect(readTask('{')).toMatchObject({ kind: 'invalid', error: { code: 'Malformed' }, taskId: undefined });
});
