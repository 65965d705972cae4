import { describe, expect, test } from 'vitest';
import { decodeMessage, encodeMessage, validateTask } from '#/contract/message.ts';
import dotnet from './dotnet.json' with { type: 'json' };
import python from './python.json' with { type: 'json' };

describe.each([python, dotnet])('$producer', ({ messages }) => {
  test.each(messages)('I9: $how', ({ raw, text }) => {
    const message = decodeMessage(raw, 'auto');
    if (message.kind !== 'decoded') throw new Error(message.problem.message);
    expect(message.text).toBe(text);
    expect(encodeMessage(message.text, message.encoding)).toBe(raw);
    expect(validateTask(message)).toMatchObject({
      kind: 'valid',
      task: {
        taskType: 'document-processing',
        payload: { title: 'Über <b>"x"</b> & 漢字 🚢', cost: '$5 $(HOME) $$', n: 1, none: null },
        webhookUrl: 'https://backend.example/hook?a=1&b=2',
      },
    });
  });
});
