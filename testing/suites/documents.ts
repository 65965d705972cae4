/**
 * The suite of document-processing, from a document in Blob to its analysis, its rows and its webhook: real Azurite and real PostgreSQL,
 * stand-ins for OpenAI and for PostgREST. Whoever calls says where those are, and how the runner is run: as a process, or in a container.
 */
import { readFile } from 'node:fs/promises';
import { BlobServiceClient } from '@azure/storage-blob';
import type { Pool } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EXIT } from '#/contract/runner-abi.ts';
import { eventually } from '#/testing/eventually.ts';
import { type OpenAiAnswer, type OpenAiServer, startOpenAi } from '#/testing/openai.ts';
import { type Postgrest, type PostgrestFault, startPostgrest } from '#/testing/postgrest.ts';
import type { RunnerProcess, RunnerRun } from '#/testing/runner-process.ts';
import { startWebhookSink, type WebhookSink } from '#/testing/webhook-sink.ts';

const KEY = 'sk-openai-hidden';
const SERVICE_ROLE = 'service-role-hidden';
const GOLDEN = new URL('../golden/openai-request.json', import.meta.url);

/** What the suite is run on. */
export interface DocumentParts extends AsyncDisposable {
  /** Of the storage account, as the runner gets it and as the suite does. */
  readonly connectionString: string;
  readonly pool: Pool;
  start(env: Readonly<Record<string, string>>): RunnerProcess;
}

/** Declares the suite's tests. */
export function documentSuite(startParts: () => Promise<DocumentParts>): void {
  let parts: DocumentParts;
  let blobs: BlobServiceClient;
  let sink: WebhookSink;
  let postgrest: Postgrest;
  let openai: OpenAiServer;

  beforeAll(async () => {
    parts = await startParts();
    sink = await startWebhookSink();
    const sql = await readFile(new URL('../../job-runner/supabase/documents.sql', import.meta.url), 'utf8');
    // It may be run again.
    await parts.pool.query(sql);
    await parts.pool.query(sql);
    blobs = BlobServiceClient.fromConnectionString(parts.connectionString);
    const container = blobs.getContainerClient('inbox');
    await container.create();
    for (const name of ['report.pdf', 'japanese.pdf', 'scan.pdf', 'handbook.md']) {
      const bytes = await readFile(new URL(`../fixtures/${name}`, import.meta.url));
      await container.uploadBlockBlob(name, bytes, bytes.length);
    }
  }, 600_000);
  afterAll(async () => {
    await sink?.[Symbol.asyncDispose]();
    await parts?.[Symbol.asyncDispose]();
  }, 60_000);

  let own: AsyncDisposableStack;
  beforeEach(async () => {
    await own?.disposeAsync();
    own = new AsyncDisposableStack();
    openai = own.use(await startOpenAi());
    postgrest = own.use(await startPostgrest(parts.pool, SERVICE_ROLE));
  });
  afterAll(() => own?.disposeAsync());

  interface Options {
    readonly path?: string;
    readonly analysis?: object;
    readonly env?: Readonly<Record<string, string>>;
  }

  const environment = (id: string, { path = 'report.pdf', analysis, env = {} }: Options) => ({
    TASK_DATA: JSON.stringify({
      task_id: id,
      task_type: 'document-processing',
      payload: { container: 'inbox', path, ...(analysis === undefined ? {} : { analysis }) },
      webhook_url: `${sink.url}/${id}`,
    }),
    AZURE_STORAGE_CONNECTION_STRING: parts.connectionString,
    OPENAI_API_KEY: KEY,
    OPENAI_BASE_URL: openai.url,
    OPENAI_PRICE_INPUT: '0.25',
    OPENAI_PRICE_OUTPUT: '2',
    SUPABASE_URL: postgrest.url,
    SUPABASE_KEY: SERVICE_ROLE,
    ...env,
  });

  const start = (id: string, options: Options = {}) => parts.start(environment(id, options));
  const process = (id: string, options: Options = {}): Promise<RunnerRun> => start(id, options).ended;
  const rowOf = async (id: string) =>
    (await parts.pool.query('select * from documents where task_id = $1', [id])).rows as Record<string, unknown>[];
  const pagesOf = async (id: string) =>
    (await parts.pool.query('select page, text from document_pages where task_id = $1 order by page', [id])).rows as {
      page: number;
      text: string;
    }[];
  const hooks = (id: string) =>
    sink.requests
      .filter(({ path }) => path === `/${id}`)
      .map(({ body }) => JSON.parse(body) as Record<string, unknown>);
  const names = async () => {
    const all: string[] = [];
    for await (const { name } of blobs.getContainerClient('results').listBlobsFlat()) all.push(name);
    return all;
  };

  const ANSWER = {
    summary: 'Two ships came into the harbour.',
    entities: [{ name: 'Borealis', type: 'product' }],
    key_points: ['A fee of €12 is due.'],
  };

  test('a PDF: text, analysis, rows, webhook', async () => {
    openai.use(() => ({ value: ANSWER, tokens: [1200, 300] }));
    const { code, output, report } = await process('full');
    expect([code, output]).toEqual([0, expect.any(String)]);
    expect(hooks('full')).toMatchObject([
      {
        status: 'completed',
        result: {
          pages: 2,
          analysis: {
            model: 'gpt-5-mini',
            result: ANSWER,
            pieces: 1,
            tokens: { input: 1200, output: 300 },
            costUsd: (1200 * 0.25 + 300 * 2) / 1e6,
          },
          stages: [
            { stage: 'extract', status: 'done' },
            { stage: 'analyse', status: 'done' },
            { stage: 'store', status: 'done' },
          ],
        },
      },
    ]);
    expect(report?.metrics).toMatchObject({
      inputTokens: 1200,
      outputTokens: 300,
      costUsd: 0.0009,
      rows: 3,
      maxMemoryBytes: expect.any(Number),
    });
    expect(await rowOf('full')).toMatchObject([
      {
        client_id: 'acme',
        source: 'inbox/report.pdf',
        type: 'pdf',
        pages: 2,
        analysis: ANSWER,
        model: 'gpt-5-mini',
        input_tokens: '1200',
        cost_usd: '0.0009',
        result_url: expect.stringContaining('/results/acme/full.json'),
      },
    ]);
    expect((await pagesOf('full')).map(({ page, text }) => [page, text.split('\n')[0]])).toEqual([
      [1, 'Harbour report'],
      [2, 'Cargo'],
    ]);
    // Exactly what is asked, as it was looked at once.
    const [request] = openai.requests;
    expect(request?.authorization).toBe(`Bearer ${KEY}`);
    await expect(`${JSON.stringify(request?.body, undefined, 2)}\n`).toMatchFileSnapshot(GOLDEN.pathname);
    // Single answers are not kept once the result is.
    expect(await names()).toContain('acme/full.json');
    expect((await names()).filter((name) => name.includes('answers'))).toEqual([]);
    for (const secret of [KEY, SERVICE_ROLE]) expect(output + JSON.stringify(hooks('full'))).not.toContain(secret);
  });

  test('by a schema and with instructions of the payload', async () => {
    const schema = {
      type: 'object',
      properties: { ships: { type: 'array', items: { type: 'string' } } },
      required: ['ships'],
      additionalProperties: false,
    };
    openai.use(() => ({ value: { ships: ['Borealis'] } }));
    const analysis = { schema, instructions: 'List every ship.', model: 'gpt-5' };
    expect((await process('schema', { analysis })).code).toBe(0);
    const [request] = openai.requests;
    expect(request?.body).toMatchObject({ model: 'gpt-5', text: { format: { schema, strict: true } } });
    expect(request?.body.instructions).toContain('List every ship.');
    expect(hooks('schema')[0]?.['result']).toMatchObject({
      analysis: { model: 'gpt-5', result: { ships: ['Borealis'] } },
    });
  });

  test.each([
    [
      'a schema that is none of an object',
      { schema: { type: 'array' } },
      'payload.analysis.schema: must be a JSON Schema',
    ],
    [
      'a schema that cannot be read',
      { schema: { type: 'object', properties: { a: { type: 'nonsense' } } } },
      'payload.analysis.schema: ',
    ],
    ['a model that is no name', { model: 'a b' }, 'payload.analysis.model: '],
  ])('%s is a permanent failure that names the field, and costs nothing', async (name, analysis, words) => {
    const { code, report } = await process(name.replaceAll(' ', '-'), { analysis });
    expect(code).toBe(EXIT.badData);
    expect(report?.error?.message).toContain(words);
    expect(openai.requests).toEqual([]);
  });

  test('a scan: recognised, stored, and no model is asked', async () => {
    expect((await process('scan', { path: 'scan.pdf' })).code).toBe(0);
    expect(openai.requests).toEqual([]);
    expect(hooks('scan')[0]?.['result']).toMatchObject({
      warnings: ['pages without text: 1 of 1; they are images, which are not read'],
      stages: [{}, { status: 'skipped', reason: 'the document has no text: its pages are images' }, { status: 'done' }],
    });
    expect(await rowOf('scan')).toMatchObject([{ analysis: null, model: null, input_tokens: null }]);
  });

  test('a PDF whose Japanese font is not embedded is read by its character map', async () => {
    expect((await process('japanese', { path: 'japanese.pdf' })).code).toBe(0);
    expect(await pagesOf('japanese')).toEqual([{ page: 1, text: '港の報告' }]);
  });

  describe('another attempt', () => {
    test('pays nothing for an analysis that is there, and writes the same rows', async () => {
      postgrest.fail(...Array.from({ length: 4 }, () => ({ status: 503 })));
      const first = await process('again', { env: { TASK_MAX_ATTEMPTS: '3' } });
      expect(first.code).toBe(EXIT.temporary);
      expect(await rowOf('again')).toEqual([]);
      expect(openai.requests).toHaveLength(1);
      const second = await process('again', { env: { TASK_MAX_ATTEMPTS: '3' } });
      expect(second.code).toBe(0);
      expect(openai.requests).toHaveLength(1);
      expect(hooks('again')).toMatchObject([{ status: 'completed', result: { stages: [{}, { status: 'kept' }, {}] } }]);
      // A third one, such as after a lost answer of the operator, changes nothing.
      const rows = await rowOf('again');
      expect((await process('again')).code).toBe(0);
      expect(openai.requests).toHaveLength(1);
      const withoutTime = (all: Record<string, unknown>[]) => all.map(({ processed_at: _, ...row }) => row);
      expect(withoutTime(await rowOf('again'))).toEqual(withoutTime(rows));
      expect(await pagesOf('again')).toHaveLength(2);
    });

    test('that was killed among the pieces asks for the other pieces alone', async () => {
      // Small pieces: 2,000 tokens of context, of which most are for the answer.
      const long = Array.from(
        { length: 400 },
        (_, at) => `Line ${at}: the crane lifted crate ${at * 7} onto the quay.`,
      ).join('\n');
      await blobs.getContainerClient('inbox').uploadBlockBlob('long.txt', long, Buffer.byteLength(long));
      const env = { OPENAI_CONTEXT_TOKENS: '3000', OPENAI_MAX_OUTPUT_TOKENS: '500', TASK_MAX_ATTEMPTS: '2' };
      openai.use((_, at) => (at < 3 ? { value: { ...ANSWER, summary: `piece ${at}` }, tokens: [10, 1] } : 'hang'));
      const first = start('pieces', { path: 'long.txt', env });
      await eventually(async () => expect(await names()).toContain('acme/pieces.answers.json'));
      await eventually(async () => {
        const blob = blobs.getContainerClient('results').getBlobClient('acme/pieces.answers.json');
        expect(Object.keys(JSON.parse((await blob.downloadToBuffer()).toString()).answers)).toHaveLength(3);
      });
      first.signal('SIGKILL');
      await first.ended;
      const before = openai.requests.length;
      openai.use(() => ({ value: { ...ANSWER, summary: 'later' }, tokens: [10, 1] }));
      expect((await process('pieces', { path: 'long.txt', env })).code).toBe(0);
      const result = hooks('pieces')[0]?.['result'];
      const { analysis } = result as { analysis: { pieces: number; tokens: object } };
      const inputs = openai.requests.slice(before).map(({ body }) => body.input);
      // The rest, and one that makes one of all.
      expect(inputs).toHaveLength(analysis.pieces - 3 + 1);
      expect(inputs.at(-1)).toContain('piece 0');
      expect(analysis.tokens).toEqual({ input: 10 * (analysis.pieces + 1), output: analysis.pieces + 1 });
      // Each line was asked about once.
      const asked = openai.requests.map(({ body }) => String(body.input)).filter((input) => input.includes('Line 7:'));
      expect(asked).toHaveLength(1);
    });
  });

  const good: OpenAiAnswer = { value: ANSWER };
  describe('OpenAI', () => {
    test.each<[string, readonly OpenAiAnswer[], number, string]>([
      ['is busy, and says how long', [{ status: 429, retryAfter: '1' }, good], EXIT.done, ''],
      ['breaks down once', [{ status: 500 }, good], EXIT.done, ''],
      ['loses the connection', ['reset', good], EXIT.done, ''],
      ['breaks off its answer', ['cut', good], EXIT.done, ''],
      ['answers with half a JSON text once', [{ text: '{"summary": "It' }, good], EXIT.done, ''],
      ['answers in another form once', [{ value: { summary: 7 } }, good], EXIT.done, ''],
      [
        'answers in another form for good',
        [{ value: { summary: 7 } }],
        EXIT.temporary,
        'not of the form that was asked for: summary',
      ],
      [
        'refuses',
        [{ refusal: 'I cannot help with that.' }],
        EXIT.badData,
        'the model refused: I cannot help with that.',
      ],
      ['withholds its answer', [{ incomplete: 'content_filter' }], EXIT.badData, 'content filter'],
      ['comes to no end', [{ incomplete: 'max_output_tokens' }], EXIT.badConfig, 'raise OPENAI_MAX_OUTPUT_TOKENS'],
      [
        'does not know the key',
        [{ status: 401, message: 'Incorrect API key provided' }],
        EXIT.badConfig,
        'OPENAI_API_KEY (value not shown) is not taken',
      ],
      [
        'does not know the model',
        [{ status: 404, code: 'model_not_found' }],
        EXIT.badConfig,
        'Name a model in OPENAI_MODEL',
      ],
      [
        'has no credit left',
        [{ status: 429, code: 'insufficient_quota', retryAfter: '0' }],
        EXIT.badConfig,
        'The account has no credit',
      ],
      ['takes less', [{ status: 400, code: 'context_length_exceeded' }], EXIT.badConfig, 'Lower OPENAI_CONTEXT_TOKENS'],
      ['does not take the schema', [{ status: 400, code: 'invalid_json_schema' }], EXIT.badData, 'invalid_json_schema'],
    ])('%s', async (name, answers, expected, words) => {
      openai.use((_, at) => answers[Math.min(at, answers.length - 1)] ?? good);
      const id = `openai-${name.replaceAll(/\W+/g, '-')}`;
      const { code, report, output } = await process(id, { env: { TASK_MAX_ATTEMPTS: '2' } });
      expect([code, report?.error?.message ?? '']).toEqual([expected, expect.stringContaining(words)]);
      expect(output).not.toContain(KEY);
    });

    test('does not answer: given up in time, as something that may pass', async () => {
      openai.use(() => 'hang');
      const env = { OPENAI_TIMEOUT: '1', WORKER_TASK_TIMEOUT: '5', TASK_MAX_ATTEMPTS: '2' };
      const { code, report } = await process('openai-hangs', { env });
      expect([code, report?.error?.code]).toEqual([EXIT.failed, 'TaskTimedOut']);
    });

    test('is being asked when the pod is told to stop: the runner ends at once', async () => {
      openai.use(() => 'hang');
      const run = start('stopped');
      await eventually(() => expect(openai.requests).toHaveLength(1));
      const from = performance.now();
      run.signal('SIGTERM');
      expect((await run.ended).code).toBe(EXIT.terminated);
      expect(performance.now() - from).toBeLessThan(5000);
      expect(hooks('stopped')).toEqual([]);
    });
  });

  describe('Supabase', () => {
    test.each<[string, readonly PostgrestFault[], Readonly<Record<string, string>>, number, string]>([
      ['is out of reach for a moment', [{ status: 503 }, 'reset'], {}, EXIT.done, ''],
      [
        'does not take the key',
        [],
        { SUPABASE_KEY: 'wrong' },
        EXIT.badConfig,
        'SUPABASE_KEY (value not shown) has to be',
      ],
      [
        'has no such table',
        [],
        { SUPABASE_SCHEMA: 'elsewhere' },
        EXIT.badConfig,
        'Run job-runner/supabase/documents.sql',
      ],
      [
        'breaks down for good',
        Array(4).fill({ status: 500 }),
        {},
        EXIT.temporary,
        'Supabase would not write document_pages',
      ],
    ])('%s', async (name, faults, env, expected, words) => {
      postgrest.fail(...faults);
      const id = `supabase-${name.replaceAll(/\W+/g, '-')}`;
      const { code, report, output } = await process(id, { env: { TASK_MAX_ATTEMPTS: '2', ...env } });
      expect([code, report?.error?.message ?? '']).toEqual([expected, expect.stringContaining(words)]);
      expect(output).not.toContain(SERVICE_ROLE);
    });

    test('takes text that PostgreSQL itself would not', async () => {
      openai.use(() => ({ value: { ...ANSWER, summary: 'a\u0000b\ud800c' } }));
      expect((await process('odd-text', { path: 'handbook.md' })).code).toBe(0);
      expect((await rowOf('odd-text'))[0]?.['analysis']).toMatchObject({ summary: 'ab\ufffdc' });
    });
  });
}
