/** The runner: from its start to the first line of a handler. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ms, percentile, type Row } from '#/bench/table.ts';

const RUNNER = fileURLToPath(new URL('../dist/runner/runner.mjs', import.meta.url));
const ROUNDS = 15;

/** Beside a process that does nothing. */
export async function runnerStart(): Promise<readonly Row[]> {
  const env = { TASK_DATA: '{"task_id":"b","task_type":"echo","payload":1}', SLIPWAY_TERMINATION_LOG: '/dev/null' };
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await timeUntil([RUNNER], env, '"echo"'));
    bare.push(await timeUntil(['-e', 'console.log("done")'], {}, 'done'));
  }
  return [
    {
      what: 'runner: start to the first line of echo',
      ours: ms(percentile(ours, 0.5)),
      baseline: `${ms(percentile(bare, 0.5))} bare Node.js`,
    },
  ];
}

function timeUntil(args: readonly string[], env: Record<string, string>, text: string): Promise<number> {
  const from = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let seen = '';
    let at: number | undefined;
    const look = (chunk: Buffer) => {
      seen += chunk.toString();
      if (at === undefined && seen.includes(text)) at = performance.now() - from;
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.on('close', () => (at === undefined ? reject(new Error(`never said ${text}: ${seen}`)) : resolve(at)));
  });
}
