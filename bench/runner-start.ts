/** The runner: from its start to the first line of a handler. */
import { spawn } from 'node:child_process';
import { mkdtempDisposable, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ms, percentile, type Row } from '#/bench/table.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const RUNNER = fileURLToPath(new URL('../dist/runner/runner.mjs', import.meta.url));
const ROUNDS = 15;

/** Loads what the stages of document-processing load, each in its turn, before its first line. */
const WITH_SDKS = `
import OpenAI from 'openai';
import { createClient } from '@supabase/supabase-js';
import { BlobServiceClient } from '@azure/storage-blob';
export const all = { type: 'all', run: async (_, { log }) => log.info({ loaded: [OpenAI, createClient, BlobServiceClient].length }, 'all sdks') };
`;
const MIB = 1024 * 1024;

/** Beside a process that does nothing. */
export async function runnerStart(): Promise<readonly Row[]> {
  await using directory = await mkdtempDisposable(join(root, 'dist', 'bench-'));
  const module = join(directory.path, 'all.mjs');
  await writeFile(module, WITH_SDKS);
  const task = (type: string, payload: unknown) => ({
    TASK_DATA: JSON.stringify({ task_id: 'b', task_type: type, payload }),
    SLIPWAY_TERMINATION_LOG: '/dev/null',
  });
  const kinds = {
    echo: { env: task('echo', 1), text: '"echo"' },
    'document-processing, with the Blob SDK': {
      env: {
        ...task('document-processing', { container: 'inbox', path: 'a.pdf' }),
        AZURE_STORAGE_CONNECTION_STRING:
          'DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;BlobEndpoint=http://127.0.0.1:9/a',
        WORKER_TASK_TIMEOUT: '1',
      },
      text: '"reading the document"',
    },
    'a handler that loads the SDKs of Blob, OpenAI and Supabase unbundled': {
      env: { ...task('all', {}), SLIPWAY_HANDLERS: module },
      text: '"all sdks"',
    },
  };
  const bare: number[] = [];
  const ours = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [kind, { env, text }] of Object.entries(kinds)) ours[kind]?.push(await timeUntil([RUNNER], env, text));
    bare.push(await timeUntil(['-e', 'console.log("done")'], {}, 'done'));
  }
  return [
    ...Object.entries(ours).map(([kind, times]) => ({
      what: `runner: start to the first line of ${kind}`,
      ours: ms(percentile(times, 0.5)),
      baseline: `${ms(percentile(bare, 0.5))} bare Node.js`,
    })),
    {
      what: 'runner: what its image has over its base',
      ours: `${((await sizeOf(join(root, 'dist/runner'))) / MIB).toFixed(1)} MiB`,
      baseline: `${((await stat(process.execPath)).size / MIB).toFixed(0)} MiB Node.js itself`,
    },
  ];
}

async function sizeOf(directory: string): Promise<number> {
  const files = await readdir(directory, { recursive: true, withFileTypes: true });
  const sizes = files
    .filter((one) => one.isFile())
    .map(async (one) => (await stat(join(one.parentPath, one.name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
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
