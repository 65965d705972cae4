/**
 * A stand-in for PostgREST, which Supabase serves under /rest/v1, over a real PostgreSQL: for exactly the calls that the runner makes, as
 * PostgREST's documentation has them. Every other call is refused with 501. Never compared with PostgREST itself.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Pool } from 'pg';

/** A call that came. */
export interface PostgrestCall {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly profile: string | undefined;
  readonly rows: number;
}

/** An answer in place of its own; `hang`: none. */
export type PostgrestFault =
  | { readonly status: number; readonly code?: string; readonly message?: string }
  | 'hang'
  | 'reset';

/** A running stand-in. */
export interface Postgrest extends AsyncDisposable {
  /** `http://HOST:PORT`, as SUPABASE_URL. */
  readonly url: string;
  readonly calls: readonly PostgrestCall[];
  /** The faults of the next calls, one each. */
  fail(...faults: readonly PostgrestFault[]): void;
}

interface Answer {
  readonly status: number;
  readonly body?: object;
}

const NAME = /^[a-z_][a-z0-9_]*$/;

/**
 * Starts it.
 *
 * @param key what callers have to show, as `apikey` and as bearer token
 */
export async function startPostgrest(pool: Pool, key: string, host = '127.0.0.1'): Promise<Postgrest> {
  const calls: PostgrestCall[] = [];
  const faults: PostgrestFault[] = [];

  async function answer(request: IncomingMessage, text: string): Promise<Answer> {
    const { method = '', url = '', headers } = request;
    const { pathname, searchParams } = new URL(url, 'http://any');
    const table = /^\/rest\/v1\/([a-z_]+)$/.exec(pathname)?.[1];
    if (headers['apikey'] !== key || headers.authorization !== `Bearer ${key}`)
      return { status: 401, body: { code: '', message: 'Invalid API key', details: null, hint: null } };
    const schema = String(headers['content-profile'] ?? 'public');
    if (table === undefined || !NAME.test(schema)) return refused(`${method} ${pathname}`);
    const target = `"${schema}"."${table}"`;
    if (method === 'POST') return upsert(target, searchParams, String(headers['prefer'] ?? ''), JSON.parse(text));
    if (method === 'DELETE') return remove(target, searchParams);
    return refused(`${method} ${pathname}`);
  }

  async function upsert(target: string, query: URLSearchParams, prefer: string, body: unknown): Promise<Answer> {
    const conflict = query.get('on_conflict')?.split(',') ?? [];
    const rows = (Array.isArray(body) ? body : [body]) as Readonly<Record<string, unknown>>[];
    const columns = Object.keys(rows[0] ?? {});
    const unexpected = [...query.keys()].filter((one) => !['on_conflict', 'columns'].includes(one));
    if (unexpected.length > 0 || !prefer.includes('resolution=merge-duplicates')) return refused(`${query} ${prefer}`);
    if (![...conflict, ...columns].every((name) => NAME.test(name))) return refused('a column');
    const list = (names: readonly string[]) => names.map((name) => `"${name}"`).join(', ');
    const set = columns.map((name) => `"${name}" = excluded."${name}"`).join(', ');
    return asPostgrest(
      `insert into ${target} (${list(columns)}) select ${list(columns)} from json_populate_recordset(null::${target}, $1) on conflict (${list(conflict)}) do update set ${set}`,
      [JSON.stringify(rows)],
      201,
    );
  }

  async function remove(target: string, query: URLSearchParams): Promise<Answer> {
    const values: string[] = [];
    const conditions: string[] = [];
    for (const [column, filter] of query) {
      const [, operator, value = ''] = /^(eq|gt)\.(.*)$/s.exec(filter) ?? [];
      if (operator === undefined || !NAME.test(column)) return refused(`${column}=${filter}`);
      values.push(value);
      conditions.push(`"${column}" ${operator === 'eq' ? '=' : '>'} $${values.length}`);
    }
    // PostgREST itself would delete all.
    if (conditions.length === 0) return refused('a delete of everything');
    return asPostgrest(`delete from ${target} where ${conditions.join(' and ')}`, values, 204);
  }

  /** PostgreSQL's errors as PostgREST answers them. */
  async function asPostgrest(sql: string, values: readonly string[], status: number): Promise<Answer> {
    try {
      await pool.query(sql, [...values]);
      return { status };
    } catch (error) {
      const {
        code = '',
        message,
        detail = null,
        hint = null,
      } = error as Error & Record<'code' | 'detail' | 'hint', string>;
      const answered = code === '42501' ? 403 : code === '42P01' ? 404 : code.startsWith('23') ? 409 : 400;
      return { status: answered, body: { code, message, details: detail, hint } };
    }
  }

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const rows = request.method === 'POST' ? [JSON.parse(text)].flat().length : 0;
    const profile = request.headers['content-profile'];
    calls.push({ method: request.method ?? '', url: request.url ?? '', profile: profile?.toString(), rows });
    const fault = faults.shift();
    if (fault === 'hang') return;
    if (fault === 'reset') return void request.socket.destroy();
    const { status, body } =
      fault === undefined
        ? await answer(request, text)
        : {
            status: fault.status,
            body: { code: fault.code ?? '', message: fault.message ?? 'injected', details: null, hint: null },
          };
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  });
  await new Promise<void>((done) => server.listen(0, host, done));
  return {
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    calls,
    fail: (...next) => void faults.push(...next),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

function refused(what: string): Answer {
  return {
    status: 501,
    body: { code: 'STANDIN', message: `the stand-in does not know ${what}`, details: null, hint: null },
  };
}
