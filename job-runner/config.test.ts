import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { type RunnerConfig, readConfig, webhookBase } from './config.ts';

const CONNECTION =
  'DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=c2VjcmV0LWtleQ==;EndpointSuffix=core.windows.net';
const SIGNING = `whsec_${randomBytes(32).toString('base64')}`;

const valid = (env: NodeJS.ProcessEnv): RunnerConfig => {
  const reading = readConfig({ TASK_DATA: '{}', ...env });
  if (reading.kind === 'invalid') throw new Error(reading.problems.join('\n'));
  return reading.config;
};
const problems = (env: NodeJS.ProcessEnv): readonly string[] => {
  const reading = readConfig({ TASK_DATA: '{}', ...env });
  return reading.kind === 'invalid' ? reading.problems : [];
};

describe('readConfig', () => {
  test('TASK_DATA alone is enough', () => {
    expect(valid({})).toEqual({
      taskData: '{}',
      taskId: '',
      taskType: '',
      clientId: 'default',
      timeoutMs: 1_800_000,
      maxAttempts: 1,
      webhook: { idBase: undefined, format: 'slipway', allow: [], secrets: [] },
      terminationLog: '/dev/termination-log',
      logLevel: 'info',
      settings: {
        storage: undefined,
        resultContainer: 'results',
        maxDocumentBytes: 50 * 1024 * 1024,
        documentHosts: [],
        openAiKey: undefined,
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
      OPENAI_API_KEY: 'k',
      SUPABASE_URL: 'https://x.supabase.co',
      SUPABASE_KEY: 'k',
    });
    expect(config).toMatchObject({ clientId: 'acme', timeoutMs: 60_000, maxAttempts: 3, terminationLog: '/tmp/log' });
    expect(config.webhook).toMatchObject({
      idBase: 'abc',
      format: 'result',
      allow: ['backend.prod.svc', '10.0.0.0/8', '*.example.com'],
    });
    expect(config.webhook.secrets.map((secret) => secret.reveal())).toEqual([SIGNING, SIGNING]);
    expect(config.settings).toMatchObject({ maxDocumentBytes: 1_048_576, documentHosts: ['cdn.example.com'] });
    expect(config.settings.storage?.reveal()).toContain('AccountName=acme;AccountKey=c2VjcmV0LWtleQ==');
    expect(inspect(config, { depth: 9 }) + JSON.stringify(config)).not.toMatch(/c2VjcmV0|whsec_/);
  });

  test('a variable that is set to nothing is not set', () => {
    expect(valid({ WORKER_TASK_TIMEOUT: '', SLIPWAY_WEBHOOK_SECRET: '', OPENAI_API_KEY: '' }).timeoutMs).toBe(
      1_800_000,
    );
    expect(problems({ TASK_DATA: '' })).toEqual([
      expect.stringMatching(/^TASK_DATA is not set, so there is no task to do\. /),
    ]);
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
      'TASK_MAX_ATTEMPTS = "1.5" is no whole number. Use 1 to 1000, or leave it out for 1',
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

describe('webhookBase', () => {
  test("is the operator's, or stable for the task", () => {
    expect(webhookBase(valid({ SLIPWAY_WEBHOOK_ID: 'abc' }), 't')).toBe('abc');
    expect(webhookBase(valid({}), 't')).toBe(webhookBase(valid({}), 't'));
    expect(webhookBase(valid({}), 't')).not.toBe(webhookBase(valid({}), 'u'));
    expect(webhookBase(valid({}), 't')).not.toBe(webhookBase(valid({ CLIENT_ID: 'acme' }), 't'));
  });
});
