import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { readConfig, VARIABLES, webhookBase } from './config.ts';
import type { PollingConfig, SidecarConfig, TaskConfig } from './settings.ts';

const CONNECTION =
  'DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=c2VjcmV0LWtleQ==;EndpointSuffix=core.windows.net';
const SIGNING = `whsec_${randomBytes(32).toString('base64')}`;

const read = (env: NodeJS.ProcessEnv): TaskConfig | PollingConfig | SidecarConfig => {
  const reading = readConfig(env);
  if (reading.kind === 'invalid') throw new Error(reading.problems.join('\n'));
  return reading.config;
};
const valid = (env: NodeJS.ProcessEnv): TaskConfig => {
  const config = read({ TASK_DATA: '{}', ...env });
  if (config.mode !== 'task') throw new Error('it would do no task');
  return config;
};
const problems = (env: NodeJS.ProcessEnv): readonly string[] => {
  const reading = readConfig({ TASK_DATA: '{}', ...env });
  return reading.kind === 'invalid' ? reading.problems : [];
};

describe('readConfig', () => {
  test('TASK_DATA alone is enough', () => {
    expect(valid({})).toEqual({
      mode: 'task',
      taskData: '{}',
      taskId: '',
      taskType: '',
      clientId: 'default',
      pod: undefined,
      handlers: [],
      rate: undefined,
      webhookId: undefined,
      timeoutMs: 1_800_000,
      maxAttempts: 1,
      webhook: { format: 'slipway', allow: [], secrets: [] },
      terminationLog: '/dev/termination-log',
      logLevel: 'info',
      settings: {
        storage: undefined,
        resultContainer: 'results',
        maxDocumentBytes: 50 * 1024 * 1024,
        documentHosts: [],
        openAi: undefined,
        supabase: undefined,
      },
    });
  });

  test('every variable is read', () => {
    const config = valid({
      TASK_ID: 't',
      TASK_TYPE: 'echo',
      CLIENT_ID: 'acme',
      WORKER_TASK_TIMEOUT: '60',
      TASK_MAX_ATTEMPTS: '3',
      SLIPWAY_WEBHOOK_ID: 'abc',
      SLIPWAY_WEBHOOK_FORMAT: 'result',
      SLIPWAY_WEBHOOK_ALLOW: 'backend.prod.svc, 10.0.0.0/8,*.example.com',
      SLIPWAY_WEBHOOK_SECRET: `${SIGNING} ${SIGNING}`,
      SLIPWAY_TERMINATION_LOG: '/tmp/log',
      LOG_LEVEL: 'debug',
      AZURE_STORAGE_CONNECTION_STRING: CONNECTION,
      RESULT_CONTAINER: 'out',
      DOCUMENT_MAX_MIB: '1',
      DOCUMENT_URL_HOSTS: 'cdn.example.com',
      OPENAI_API_KEY: 'sk-hidden',
      OPENAI_BASE_URL: 'https://acme.openai.azure.com/openai/v1/',
      OPENAI_MODEL: 'gpt-5',
      OPENAI_CONTEXT_TOKENS: '50000',
      OPENAI_PRICE_INPUT: '0.25',
      OPENAI_PRICE_OUTPUT: '2',
      SUPABASE_URL: 'https://x.supabase.co',
      SUPABASE_KEY: 'sb-hidden',
      SUPABASE_SCHEMA: 'docs',
      SLIPWAY_HANDLERS: '/app/a.ts, b.mjs',
      HOSTNAME: 'acme-echo-1',
    });
    expect(config).toMatchObject({ pod: 'acme-echo-1', handlers: ['/app/a.ts', 'b.mjs'] });
    expect(config.settings.openAi).toMatchObject({
      baseUrl: 'https://acme.openai.azure.com/openai/v1/',
      model: 'gpt-5',
      contextTokens: 50_000,
      maxOutputTokens: 8000,
      prices: { input: 0.25, output: 2 },
    });
    expect(config.settings.supabase).toMatchObject({ url: 'https://x.supabase.co', schema: 'docs' });
    expect(config).toMatchObject({ clientId: 'acme', timeoutMs: 60_000, maxAttempts: 3, terminationLog: '/tmp/log' });
    expect(config.webhookId).toBe('abc');
    expect(config.webhook).toMatchObject({
      format: 'result',
      allow: ['backend.prod.svc', '10.0.0.0/8', '*.example.com'],
    });
    expect(config.webhook.secrets.map((secret) => secret.reveal())).toEqual([SIGNING, SIGNING]);
    expect(config.settings).toMatchObject({ maxDocumentBytes: 1_048_576, documentHosts: ['cdn.example.com'] });
    expect(config.settings.storage?.reveal()).toContain('AccountName=acme;AccountKey=c2VjcmV0LWtleQ==');
    expect(inspect(config, { depth: 9 }) + JSON.stringify(config)).not.toMatch(/c2VjcmV0|whsec_|hidden/);
  });

  test('a variable that is set to nothing is not set', () => {
    expect(valid({ WORKER_TASK_TIMEOUT: '', SLIPWAY_WEBHOOK_SECRET: '', OPENAI_API_KEY: '' }).timeoutMs).toBe(
      1_800_000,
    );
  });

  describe('without a task', () => {
    const QUEUES = { WORKER_QUEUES: 'acme-tasks globex-tasks', AZURE_STORAGE_CONNECTION_STRING: CONNECTION };

    test('queues are polled where some are named', () => {
      expect(read(QUEUES)).toMatchObject({
        mode: 'polling',
        queues: ['acme-tasks', 'globex-tasks'],
        concurrency: 1,
        maxAttempts: 3,
        idle: { shortestMs: 5000, longestMs: 60_000 },
        access: { account: 'acme' },
      });
    });

    test('what tests have left is collected where that is asked for, whatever else is set', () => {
      const wanted = { artifacts: ['logs'], junit: ['*.xml'] };
      expect(read({ ...QUEUES, TASK_DATA: '{}', TASK_ID: 't', CI_COLLECT: JSON.stringify(wanted) })).toMatchObject({
        mode: 'sidecar',
        taskId: 't',
        directory: '/artifacts',
        wanted,
        withinMs: 60_000,
      });
    });

    test('and what is wrong with anything else is told by it, not the end of it', () => {
      const env = {
        CI_COLLECT: '{"artifacts":[],"junit":["*.xml"]}',
        AZURE_STORAGE_CONNECTION_STRING: 'DefaultEndpointsProtocol=https;AccountKey=c2VjcmV0',
        RESULT_CONTAINER: 'No Container',
        CI_COLLECT_WITHIN: '20',
      };
      const config = read(env);
      expect(config).toMatchObject({
        mode: 'sidecar',
        wanted: { artifacts: [], junit: ['*.xml'] },
        withinMs: 20_000,
        problems: [
          expect.stringMatching(/^AZURE_STORAGE_CONNECTION_STRING \(value not shown\) is no connection string/),
          expect.stringMatching(/^RESULT_CONTAINER = "No Container" is no container name/),
        ],
      });
      expect(inspect(config, { depth: 9 })).not.toContain('c2VjcmV0');
      expect(read({ CI_COLLECT: env.CI_COLLECT })).toMatchObject({ mode: 'sidecar', problems: [] });
      expect(readConfig({ ...env, CI_COLLECT: '{}' })).toMatchObject({ kind: 'invalid', problems: { length: 3 } });
    });

    test.each<[string, NodeJS.ProcessEnv, RegExp]>([
      [
        'nothing that can be collected',
        { CI_COLLECT: '[]' },
        /^CI_COLLECT = "\[\]" is no JSON with artifacts and junit/,
      ],
      [
        'nothing to do',
        {},
        /^TASK_DATA is not set, so there is no task to do\. .*To poll queues .* set WORKER_QUEUES$/,
      ],
      ['TASK_DATA is empty: no worker of a broken template', { ...QUEUES, TASK_DATA: '' }, /^TASK_DATA is empty\. /],
      ['TASK_ID without it: the same', { ...QUEUES, TASK_ID: 't' }, /^TASK_ID is set, and TASK_DATA is not/],
      [
        'a queue that cannot be',
        { ...QUEUES, WORKER_QUEUES: 'Acme' },
        /has the entry "Acme", which is no name of a queue/,
      ],
      [
        'no queue at all',
        { ...QUEUES, WORKER_QUEUES: ' , ' },
        /^WORKER_QUEUES = " , " names no queue\. Name at least one/,
      ],
      [
        'a poison queue',
        { ...QUEUES, WORKER_QUEUES: 'acme-tasks-poison' },
        /which is a poison queue: .* Name the task/,
      ],
      ['a queue whose poison queue cannot be', { ...QUEUES, WORKER_QUEUES: 'a'.repeat(57) }, /which is too long: its/],
      ['no account', { WORKER_QUEUES: 'acme-tasks' }, /AZURE_STORAGE_CONNECTION_STRING/],
      [
        'an idle time that shrinks',
        { ...QUEUES, WORKER_IDLE_MIN: '9', WORKER_IDLE_MAX: '8' },
        /^WORKER_IDLE_MIN = 9 is more/,
      ],
    ])('%s', (_, env, expected) => {
      const reading = readConfig(env);
      expect(reading).toMatchObject({ kind: 'invalid', problems: [expect.stringMatching(expected)] });
    });
  });

  test('all problems are told at once, with value and remedy', () => {
    expect(
      problems({
        WORKER_TASK_TIMEOUT: '0',
        TASK_MAX_ATTEMPTS: '1.5',
        SLIPWAY_WEBHOOK_ID: 'a.b',
        SLIPWAY_WEBHOOK_FORMAT: 'xml',
        SLIPWAY_WEBHOOK_ALLOW: 'http://backend:8080',
        RESULT_CONTAINER: 'Results',
        DOCUMENT_MAX_MIB: '501',
        LOG_LEVEL: 'loud',
      }),
    ).toEqual([
      'WORKER_TASK_TIMEOUT = "0" is out of range. Use 1 to 604800',
      'TASK_MAX_ATTEMPTS = "1.5" is no whole number. Use 1 to 1000, or leave it out',
      'SLIPWAY_WEBHOOK_ID = "a.b" may have letters, digits, "_" and "-" only, at most 128. Leave it to the operator',
      'SLIPWAY_WEBHOOK_FORMAT = "xml" is not known. Use one of slipway, result',
      expect.stringMatching(/^SLIPWAY_WEBHOOK_ALLOW = .* has the entry "http:\/\/backend:8080", which is neither/),
      'LOG_LEVEL = "loud" is not known. Use one of debug, info, warn, error',
      'RESULT_CONTAINER = "Results" is no container name. Use 3 to 63 lower-case letters, digits and single hyphens',
      'DOCUMENT_MAX_MIB = "501" is out of range. Use 1 to 500',
    ]);
  });

  test('a wrong secret is not shown', () => {
    const told = problems({ AZURE_STORAGE_CONNECTION_STRING: 'hunter2', SLIPWAY_WEBHOOK_SECRET: 'hunter2' });
    expect(told).toHaveLength(2);
    expect(told.join()).toContain('(value not shown)');
    expect(told.join()).not.toContain('hunter2');
  });

  test('the termination log is known even then', () => {
    expect(readConfig({ SLIPWAY_TERMINATION_LOG: '/tmp/x' })).toMatchObject({
      kind: 'invalid',
      terminationLog: '/tmp/x',
    });
  });
});

test('docs/runner.md has every variable, and no other', () => {
  const page = readFileSync(new URL('../docs/runner.md', import.meta.url), 'utf8');
  const told = new Set(
    [...page.slice(page.indexOf('## Variables')).matchAll(/`([A-Z][A-Z_]+)`/g)].map(([, name]) => name),
  );
  expect([...told].toSorted()).toEqual([...VARIABLES].toSorted());
});

describe('webhookBase', () => {
  test("is the operator's, or stable for the task", () => {
    expect(webhookBase(valid({ SLIPWAY_WEBHOOK_ID: 'abc' }), 't')).toBe('abc');
    expect(webhookBase(valid({}), 't')).toBe(webhookBase(valid({}), 't'));
    expect(webhookBase(valid({}), 't')).not.toBe(webhookBase(valid({}), 'u'));
    expect(webhookBase(valid({}), 't')).not.toBe(webhookBase(valid({ CLIENT_ID: 'acme' }), 't'));
  });
});
