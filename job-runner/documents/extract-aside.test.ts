/** The thread that reads documents. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { extractAside } from './extract-aside.ts';

const fixture = (name: string) => readFile(new URL(`../../testing/fixtures/${name}`, import.meta.url));
const never = new AbortController().signal;

test('gives what the document says, and what is wrong with it', async () => {
  expect((await extractAside('pdf', await fixture('report.pdf'), never)).parts).toHaveLength(2);
  await expect(extractAside('pdf', await fixture('encrypted.pdf'), never)).rejects.toMatchObject({
    name: 'PermanentError',
    message: 'is encrypted: a password is needed to open it',
  });
});

test('a document that keeps its library at work holds nothing else up, and is given up when the time is up', async () => {
  // A table of a million cells, each of which is laid out beside all others of its column.
  const row = `<tr>${'<td>a</td>'.repeat(1000)}</tr>`;
  const hostile = Buffer.from(`<table>${row.repeat(1000)}</table>`);
  const from = performance.now();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 20);
  try {
    const ended = await extractAside('html', hostile, AbortSignal.timeout(1000)).then(
      () => 'read',
      (error: unknown) => (error as Error).name,
    );
    expect(ended).toBe('TimeoutError');
  } finally {
    clearInterval(timer);
  }
  expect(performance.now() - from).toBeLessThan(10_000);
  expect(ticks).toBeGreaterThan(10);
});

test('what is told to stop before it begins does not begin', async () => {
  await expect(extractAside('text', Buffer.from('a'), AbortSignal.abort(new Error('stopped')))).rejects.toThrow(
    'stopped',
  );
});
