import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseReport } from '../contract/runner-abi.ts';
import { createLog } from '../lib/log.ts';
import { writeTerminationLog } from './termination-log.ts';

const lines: string[] = [];
const log = createLog('info', {}, { write: (line: string) => void lines.push(line) });

test('replaces a longer text, in place', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-'));
  const path = join(folder, 'log');
  await writeFile(path, 'x'.repeat(9999));
  writeTerminationLog(path, { v: 1, status: 'completed', webhook: 'owed' }, log);
  expect(parseReport(await readFile(path, 'utf8'))).toEqual({ v: 1, status: 'completed', webhook: 'owed' });
  await rm(folder, { recursive: true });
});

test('warns where it cannot be written', () => {
  for (const path of ['/nowhere/log', '/proc/version', tmpdir()]) {
    writeTerminationLog(path, { v: 1, status: 'completed', webhook: 'none' }, log);
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ level: 'warn', path });
  }
});
