/** The real runner as the program of a container group: exactly the environment of its body, and nothing else of this process's. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { GroupBody } from '#/testing/arm/rules.ts';
import type { RunningProgram } from '#/testing/arm/service.ts';

const RUNNER = fileURLToPath(new URL('../../job-runner/main.ts', import.meta.url));

/** Starts it. A group with a command of its own runs that instead of the image's. */
export function startRunner({ properties }: GroupBody): RunningProgram {
  const { command, environmentVariables = [] } = properties.containers[0]?.properties ?? {};
  const env = Object.fromEntries(
    environmentVariables.map(({ name, value, secureValue }) => [name, value ?? secureValue ?? '']),
  );
  const [file = process.execPath, ...args] = command ?? [process.execPath, RUNNER];
  const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (log += chunk.toString('utf8')));
  return {
    ended: once(child, 'close').then(([code]) => ({ exitCode: typeof code === 'number' ? code : 137, log })),
    stop: () => void child.kill('SIGKILL'),
  };
}
