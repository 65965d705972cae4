import { execFile } from 'node:child_process';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { EXIT } from '../contract/runner-abi.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

/** Runs the operator's process in exactly this environment. */
function run(
  env: Readonly<Record<string, string>>,
  ...args: readonly string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

test('I9: a wrong configuration ends the process with 78 and every problem, and prints no secret', async () => {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-main-'));
  const file = join(directory.path, 'config.yaml');
  await writeFile(file, 'queues: []\nrunner: { image: x }\ntaskTypes: { echo: { attempts: 0 } }\n');
  const { code, stdout, stderr } = await run({
    SLIPWAY_CONFIG: file,
    SLIPWAY_WEBHOOK_SECRET: 'hunter2',
    AZURE_STORAGE_CONNECTION_STRING: 'hunter2',
  });
  expect(code).toBe(EXIT.badConfig);
  expect(stderr.split('\n')).toEqual([
    'slipway: the configuration has 5 problems:',
    `  - ${file}: taskTypes.echo.attempts = 0: is too small. Use 1 or more`,
    expect.stringContaining(`  - ${file}: queues (a list): no queue is named and discovery is not set`),
    expect.stringMatching(/^ {2}- AZURE_STORAGE_CONNECTION_STRING \(value not shown\): /),
    expect.stringMatching(/^ {2}- SLIPWAY_NAMESPACE is not set: /),
    expect.stringMatching(/^ {2}- SLIPWAY_WEBHOOK_SECRET \(value not shown\): /),
    '',
  ]);
  expect(stdout + stderr).not.toContain('hunter2');
});

test.each([
  [['--twice'], "Unknown option '--twice'"],
  [['--once', '--lease-seconds=5'], '--lease-seconds = "5": must be a whole number of seconds from 120 to 604800'],
  [['--lease-seconds=900'], '--lease-seconds is for --once. Add --once, or leave it out'],
])('a wrong command line (%j) ends it with 78, and says how it is used', async (args, problem) => {
  const { code, stderr } = await run({}, ...args);
  expect(code).toBe(EXIT.badConfig);
  expect(stderr).toContain(problem);
  expect(stderr).toContain('Usage: operator [--once');
});
