import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatReport, MAX_REPORT_BYTES, type RunnerReport } from '../contract/runner-abi.ts';
import { MAX_RESULT_BYTES } from '../contract/webhook.ts';
import { systemClock } from '../lib/clock.ts';
import { createLog } from '../lib/log.ts';
import { startWebhookSink, type WebhookSink } from '../testing/webhook-sink.ts';
import { ConfigurationError, PermanentError } from './errors.ts';
import { failure } from './execute.ts';
import { type EndedTask, isOurs, type ReportTools, report } from './report.ts';

let sink: WebhookSink;
beforeAll(async () => {
  sink = await startWebhookSink();
});
afterAll(() => sink[Symbol.asyncDispose]());

const completed = (result: unknown): EndedTask['ending'] => ({ kind: 'completed', result });

function harness(path: string, changes: Partial<EndedTask> = {}, toolChanges: Partial<ReportTools> = {}) {
  const reports: RunnerReport[] = [];
  const waits: number[] = [];
  const task: EndedTask = {
    taskId: 't1',
    taskType: 'echo',
    clientId: 'acme',
    webhookUrl: `${sink.url}${path}`,
    ending: completed({ answer: 42 }),
    startedAt: 1_000,
    finishedAt: 3_500,
    ...changes,
  };
  const tools: ReportTools = {
    webhook: { idBase: 'abc', format: 'slipway', allow: ['127.0.0.1'], secrets: [] },
    maxAttempts: 1,
    writeReport: (written) => void reports.push(written),
    keepResult: async () => undefined,
    clock: { ...systemClock, sleep: async (ms) => void waits.push(ms) },
    log: createLog('silent', {}),
    stopping: new AbortController().signal,
    ...toolChanges,
  };
  return { task, tools, reports, waits };
}

describe('a result too large to send', () => {
  const large = completed('x'.repeat(MAX_RESULT_BYTES));
  const url = 'https://account.blob.example/results/acme/t1.report.json';

  test('is sent as the place where it lies', async () => {
    const { task, tools } = harness('/too-large', { ending: large }, { keepResult: async () => url });
    await report(task, tools);
    const [received] = await sink.waitFor('/too-large');
    const body = JSON.parse(received?.body ?? '');
    expect([body.result, body.result_url, body.status]).toEqual([undefined, url, 'completed']);
  });

  test('is sent itself when there is no place for it: nothing is lost', async () => {
    const { task, tools } = harness('/too-large-whole', { ending: large });
    await report(task, tools);
    const [received] = await sink.waitFor('/too-large-whole');
    expect(JSON.parse(received?.body ?? '').result).toHaveLength(MAX_RESULT_BYTES);
  });

  test('one that is not is sent itself, wherever it lies besides', async () => {
    const ending = completed('x'.repeat(5000));
    const { task, tools } = harness('/not-large', { ending }, { keepResult: async () => url });
    await report(task, tools);
    const [received] = await sink.waitFor('/not-large');
    expect(JSON.parse(received?.body ?? '')).toMatchObject({ result: 'x'.repeat(5000) });
    expect(received?.body).not.toContain('result_url');
  });
});

describe('isOurs', () => {
  const url = 'https://example.com/';
  test.each([
    ['a success', completed(1), 3, true],
    ['bad data', failure(new PermanentError('x')), 3, true],
    ['bad configuration', failure(new ConfigurationError('x')), 3, true],
    ['a failure with attempts left', failure(new Error('x')), 3, false],
    ['a failure of the only attempt', failure(new Error('x')), 1, true],
  ])('%s', (_what, ending, maxAttempts, expected) => {
    expect(isOurs({ ending, webhookUrl: url }, maxAttempts)).toBe(expected);
    expect(isOurs({ ending, webhookUrl: undefined }, maxAttempts)).toBe(false);
  });
});

describe('the webhook', () => {
  test('of a success; the termination message says owed before it is sent and delivered after', async () => {
    const { task, tools, reports } = harness('/ok');
    const atArrival: string[] = [];
    sink.answer('/ok', { status: 200 });
    await report(task, {
      ...tools,
      writeReport: (written) => {
        tools.writeReport(written);
        atArrival.push(`${written.webhook} after ${sink.requests.filter(({ path }) => path === '/ok').length}`);
      },
    });
    const [received] = await sink.waitFor('/ok');
    expect(JSON.parse(received?.body ?? '')).toEqual({
      task_id: 't1',
      task_type: 'echo',
      client_id: 'acme',
      status: 'completed',
      result: { answer: 42 },
      started_at: '1970-01-01T00:00:01.000Z',
      finished_at: '1970-01-01T00:00:03.500Z',
      duration_ms: 2500,
    });
    expect(received?.headers['webhook-id']).toBe('abc_completed');
    expect(reports).toEqual([
      { v: 1, status: 'completed', webhook: 'owed', result: { answer: 42 }, metrics: { durationMs: 2500 } },
      { v: 1, status: 'completed', webhook: 'delivered', result: { answer: 42 }, metrics: { durationMs: 2500 } },
    ]);
    expect(atArrival).toEqual(['owed after 0', 'delivered after 1']);
  });

  test('in format result', async () => {
    const { task, tools } = harness('/result');
    await report(task, { ...tools, webhook: { ...tools.webhook, format: 'result' } });
    expect((await sink.waitFor('/result'))[0]?.body).toBe('{"answer":42}');
  });

  test('of a failure, with code, message and hint', async () => {
    const { task, tools, reports } = harness('/failed', {
      ending: failure(new PermanentError('payload.path: is missing', { code: 'Malformed' })),
    });
    await report(task, { ...tools, maxAttempts: 3 });
    const [received] = await sink.waitFor('/failed');
    expect(JSON.parse(received?.body ?? '')).toMatchObject({
      status: 'failed',
      error: { code: 'Malformed', message: 'payload.path: is missing', hint: expect.any(String) },
    });
    expect(received?.headers['webhook-id']).toBe('abc_failed');
    expect(reports.at(-1)).toMatchObject({ status: 'failed', error: { code: 'Malformed' }, webhook: 'delivered' });
  });

  test('is not sent when it is not ours', async () => {
    const { task, tools, reports } = harness('/not-ours', { ending: failure(new Error('x')) });
    await report(task, { ...tools, maxAttempts: 3 });
    expect(reports).toMatchObject([{ webhook: 'none' }]);
    expect(sink.requests.filter(({ path }) => path === '/not-ours')).toEqual([]);
  });
});

describe('a webhook that is not taken', () => {
  test('is tried three times, after 0, 1 and 5 s', async () => {
    sink.answer('/flaky', { status: 500 }, { status: 302, headers: { location: '/elsewhere' } }, { status: 200 });
    const { task, tools, reports, waits } = harness('/flaky');
    await report(task, tools);
    expect(await sink.waitFor('/flaky', 3)).toHaveLength(3);
    expect(
      new Set(sink.requests.filter(({ path }) => path === '/flaky').map(({ headers }) => headers['webhook-id'])).size,
    ).toBe(1);
    expect(waits).toEqual([1000, 5000]);
    expect(reports.at(-1)?.webhook).toBe('delivered');
    expect(sink.requests.some(({ path }) => path === '/elsewhere')).toBe(false);
  });

  test('stays owed then', async () => {
    sink.answer('/down', { status: 503 });
    const { task, tools, reports } = harness('/down');
    await report(task, tools);
    expect(sink.requests.filter(({ path }) => path === '/down')).toHaveLength(3);
    expect(reports).toMatchObject([{ webhook: 'owed' }]);
  });

  test('stays owed at once when it is refused for good: the operator gives it up where it is seen', async () => {
    sink.answer('/gone', { status: 410 });
    const { task, tools, reports } = harness('/gone');
    await report(task, tools);
    expect(sink.requests.filter(({ path }) => path === '/gone')).toHaveLength(1);
    expect(reports).toMatchObject([{ webhook: 'owed' }]);
  });

  test('waits as long as it is asked to', async () => {
    sink.answer('/later', { status: 429, headers: { 'retry-after': '4' } }, { status: 200 });
    const { task, tools, waits } = harness('/later');
    await report(task, tools);
    expect(waits).toEqual([4000]);
  });

  test('does not keep a process that is to stop', async () => {
    sink.answer('/hang', 'hang');
    const stop = new AbortController();
    // Real time but for the time to hurry.
    const clock = { ...systemClock, sleep: (ms: number, signal: AbortSignal) => systemClock.sleep(ms / 30, signal) };
    const { task, tools, reports } = harness('/hang', {}, { stopping: stop.signal, clock });
    const done = report(task, tools);
    await sink.waitFor('/hang');
    const from = performance.now();
    stop.abort();
    await done;
    expect(performance.now() - from).toBeLessThan(1500);
    expect(reports).toMatchObject([{ webhook: 'owed' }]);
    expect(sink.requests.filter(({ path }) => path === '/hang')).toHaveLength(1);
  });
});

describe('a result that does not fit', () => {
  const large = completed('x'.repeat(5000));

  test('is kept elsewhere, and sent whole', async () => {
    const { task, tools, reports } = harness(
      '/large',
      { ending: large },
      { keepResult: async (result) => `https://blob/${String(result).length}` },
    );
    await report(task, tools);
    expect(JSON.parse(formatReport(reports[0] as RunnerReport))).toEqual({
      v: 1,
      status: 'completed',
      webhook: 'owed',
      resultUrl: 'https://blob/5000',
      truncated: true,
    });
    expect(JSON.parse((await sink.waitFor('/large'))[0]?.body ?? '').result).toHaveLength(5000);
  });

  test('is left out when there is no place or no storage', async () => {
    for (const keepResult of [async () => undefined, () => Promise.reject(new Error('down'))]) {
      const { task, tools, reports } = harness('/large2', { ending: large }, { keepResult });
      await report(task, tools);
      expect(JSON.parse(formatReport(reports[0] as RunnerReport))).toMatchObject({ truncated: true });
      expect(reports.at(-1)?.webhook).toBe('delivered');
    }
  });

  test('whatever ends, the termination message fits and keeps status, code and webhook state', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue(),
        fc.string({ unit: 'binary', maxLength: 5000 }),
        fc.boolean(),
        async (result, message, fails) => {
          const ending = fails ? failure(new PermanentError(message)) : completed(result);
          const { task, tools, reports } = harness('', { ending, webhookUrl: undefined });
          await report(task, tools);
          const text = formatReport(reports[0] as RunnerReport);
          expect(Buffer.byteLength(text)).toBeLessThanOrEqual(MAX_REPORT_BYTES);
          expect(JSON.parse(text)).toMatchObject({ v: 1, status: fails ? 'failed' : 'completed', webhook: 'none' });
        },
      ),
    );
  });
});
