import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { createLog } from './log.ts';
import { Secret } from './secret.ts';

test('I9: a secret is shown by nothing that prints, and told to who asks for it', () => {
  const secret = new Secret('hunter2');
  const lines: string[] = [];
  const log = createLog('info', {}, { write: (line: string) => lines.push(line) });
  log.info({ secret, nested: { secrets: [secret] } }, `with ${secret}`);
  const printed = [
    String(secret),
    `${secret}`,
    JSON.stringify({ secret }),
    inspect({ deep: { secret } }, { showHidden: true, depth: null }),
    Object.values({ ...secret }).join(),
    new Error(`bad ${secret}`).message,
    ...lines,
  ];
  expect(lines).toHaveLength(1);
  expect(printed.join('\n')).not.toContain('hunter2');
  expect(secret.reveal()).toBe('hunter2');
});
