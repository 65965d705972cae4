import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { attempt } from '#/testing/shell.ts';

const demo = (...args: string[]) =>
  attempt(process.execPath, [fileURLToPath(new URL('../../testing/demo/main.ts', import.meta.url)), ...args]);

test('the demo ends well, by itself, and without escape sequences where there is no terminal', async () => {
  const { code, stdout, stderr } = await demo();
  expect(stdout).toContain('All 8 messages ended as they should');
  expect(stripVTControlCharacters(stdout)).toBe(stdout);
  expect(stderr).toBe('');
  expect(code).toBe(0);
});

test('the demo tells how it is used', async () => {
  expect(await demo('--help')).toMatchObject({ code: 0, stdout: expect.stringContaining('--verbose'), stderr: '' });
  expect(await demo('--fast')).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('--fast') });
});
