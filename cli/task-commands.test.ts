/** `slipway tasks|why|cancel|drain` against an API server in memory. */
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { diagnose } from '../contract/diagnosis.ts';
import { ANNOTATION, LABEL, MANAGED_BY, STATE } from '../contract/identity.ts';
import { formatEnvelope, type PoisonEnvelope } from '../contract/poison.ts';
import { iso } from '../lib/clock.ts';
import { ServiceError } from '../lib/errors.ts';
import type { ApiRequest, KubernetesApi } from '../operator/jobs/api.ts';
import { JOB_NAME_LABEL, type RawJob, type RawPod } from '../operator/jobs/records.ts';
import { FakeQueues } from '../testing/fake-queue.ts';
import { type Behaviour, podStatus } from '../testing/pod-status.ts';
import { EPOCH, settled, VirtualClock } from '../testing/virtual-clock.ts';
import type { ClusterOptions } from './cluster.ts';
import { runProgram } from './program.ts';

const BASE = '/apis/batch/v1/namespaces/slipway/jobs';
const PODS = '/api/v1/namespaces/slipway/pods';
const MESSAGE_ID = '3f0b7a52-7c1e-4c5f-9d0a-5a3b1c2d4e6f';

type Meta = NonNullable<RawJob['metadata']>;
type Labelled = { metadata?: Meta };

interface JobOptions {
  readonly id: string;
  readonly client?: string;
  readonly messageId?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly held?: boolean;
  readonly as?: 'completed' | 'failed';
}

/** A Job's JSON as the operator makes it. */
function rawJob(
  name: string,
  { id, client = 'acme', messageId = MESSAGE_ID, annotations, held, as }: JobOptions,
): RawJob {
  const type = { completed: 'Complete', failed: 'Failed' }[as ?? 'completed'];
  const condition = { type, status: 'True', reason: 'Reached', lastTransitionTime: iso(EPOCH) };
  return {
    metadata: {
      name,
      uid: `uid-${name}`,
      resourceVersion: '1',
      creationTimestamp: iso(EPOCH),
      labels: {
        [LABEL.managedBy]: MANAGED_BY,
        [LABEL.installation]: 'inst',
        [LABEL.client]: client,
        [LABEL.taskType]: 'echo',
        [LABEL.taskId]: id,
        [LABEL.state]: as === undefined ? STATE.active : STATE.settled,
      },
      annotations: {
        [ANNOTATION.queue]: `${client}-tasks`,
        [ANNOTATION.client]: client,
        [ANNOTATION.messageId]: messageId,
        [ANNOTATION.leaseUntil]: iso(EPOCH + 60_000),
        ...(held === true ? { [ANNOTATION.suspendedBy]: 'slipway' } : {}),
        ...annotations,
      },
    },
    spec: { backoffLimit: 0, suspend: held === true, parallelism: 1 },
    status: { startTime: iso(EPOCH), conditions: as === undefined ? [] : [condition] },
  };
}

function rawPod(jobName: string, as: Behaviour): RawPod {
  const metadata = { name: `${jobName}-1`, uid: `uid-${jobName}-1`, labels: { [JOB_NAME_LABEL]: jobName } };
  return { metadata: { ...metadata, creationTimestamp: iso(EPOCH) }, status: podStatus(as) };
}

/** Jobs, pods and Leases in memory. Selectors are understood as far as the command line uses them. */
class FakeApi implements KubernetesApi {
  readonly jobs = new Map<string, RawJob>();
  readonly pods: RawPod[] = [];
  lease: object | undefined;
  readonly requests: ApiRequest[] = [];
  refuse: (request: ApiRequest) => ServiceError | undefined = () => undefined;
  readonly #watches = new Set<{ readonly selector: string; readonly write: (event: object) => void }>();

  readonly request = async (request: ApiRequest): Promise<unknown> => {
    this.requests.push(request);
    const error = this.refuse(request);
    if (error !== undefined) throw error;
    const { method, path, query } = request;
    const selector = String(query?.['labelSelector'] ?? '');
    const [, namespace = '', name] = /^\/apis\/batch\/v1\/namespaces\/([^/]+)\/jobs(?:\/(.+))?$/.exec(path) ?? [];
    const here = [...this.jobs.values()].filter(({ metadata }) => (metadata?.namespace ?? 'slipway') === namespace);
    if (namespace !== '' && name === undefined) return listOf(here.filter((job) => fits(job, selector)));
    if (path.endsWith('/pods')) return listOf(path === PODS ? this.pods : []);
    if (path.includes('/leases/') && this.lease !== undefined) return this.lease;
    const job = here.find(({ metadata }) => metadata?.name === name);
    if (job === undefined) throw new ServiceError('not-found', 'NotFound', `${path} was not found`);
    if (method === 'GET') return job;
    const { metadata } = request.body as { metadata: Meta };
    return this.put({
      ...job,
      metadata: { ...job.metadata, annotations: { ...job.metadata?.annotations, ...metadata.annotations } },
    });
  };

  readonly lines = (request: ApiRequest & { readonly signal: AbortSignal }): AsyncIterable<string> => {
    const stream = new TransformStream<string, string>(undefined, { highWaterMark: 100 });
    const writer = stream.writable.getWriter();
    const ignore = () => undefined;
    if (request.path === BASE) {
      const watch = {
        selector: String(request.query?.['labelSelector']),
        write: (event: object) => void writer.write(JSON.stringify(event)).catch(ignore),
      };
      this.#watches.add(watch);
      request.signal.addEventListener('abort', () => this.#watches.delete(watch), { once: true });
    }
    request.signal.addEventListener('abort', () => void writer.abort(new Error('aborted')).catch(ignore), {
      once: true,
    });
    return stream.readable;
  };

  /** Makes or changes a Job, and tells those who watch. */
  put(job: RawJob): RawJob {
    const name = job.metadata?.name ?? '';
    const type = this.jobs.has(name) ? 'MODIFIED' : 'ADDED';
    this.jobs.set(name, job);
    for (const { selector, write } of this.#watches) if (fits(job, selector)) write({ type, object: job });
    return job;
  }

  /** Takes a Job away, and tells those who watch. */
  remove(name: string): void {
    const object = this.jobs.get(name);
    this.jobs.delete(name);
    for (const { write } of this.#watches) write({ type: 'DELETED', object });
  }
}

function listOf(items: readonly object[]) {
  return { metadata: { resourceVersion: '1' }, items };
}

function fits({ metadata }: Labelled, selector: string): boolean {
  return selector.split(/,(?![^(]*\))/).every((part) => {
    const among = /^(\S+) in \((.*)\)$/.exec(part);
    const [key = '', value = ''] = among === null ? part.split('=') : [among[1], among[2]];
    return value.split(',').includes(metadata?.labels?.[key] ?? '');
  });
}

function setUp(...jobs: readonly RawJob[]) {
  const clock = new VirtualClock();
  const api = new FakeApi();
  for (const job of jobs) api.put(job);
  const queues = new FakeQueues(clock, []);
  const stop = new AbortController();
  const said = { out: '', err: '' };
  let account = false;
  let columns: number | undefined;
  const run = async (...args: readonly string[]) => {
    said.out = '';
    said.err = '';
    const code = await runProgram(args, {
      out: (text) => {
        said.out += text;
      },
      err: (text) => {
        said.err += text;
      },
      colour: columns !== undefined,
      columns,
      clock,
      stopping: stop.signal,
      connect: () => 78,
      connectIfNamed: () => (account ? queues : undefined),
      connectCluster: ({ namespace: named = 'slipway' }: ClusterOptions) => {
        const [namespace = '', ...others] = named.split(',');
        return { api, namespace, others, server: 'https://cluster.test' };
      },
      readText: async () => ({ problem: 'there are no files here' }),
      openCluster: () => ({ problem: 'not asked here' }),
      storageAccess: () => ({ kind: 'invalid', problem: 'not set' }),
      inspectQueues: () => {
        throw new Error('no queue is looked at here');
      },
    });
    return { code, ...said };
  };
  return {
    clock,
    api,
    queues,
    stop,
    said,
    run,
    onTerminal: (width: number) => {
      columns = width;
    },
    withAccount: () => {
      account = true;
    },
  };
}

const lease = (renewedAt: number, holder = 'operator-0') => ({
  metadata: { resourceVersion: '1', uid: 'u' },
  spec: { holderIdentity: holder, leaseDurationSeconds: 15, renewTime: iso(renewedAt) },
});
const RUNNING = rawJob('acme-echo-aaaaaaaaaaaa', { id: 't-1' });
const HELD = rawJob('acme-echo-bbbbbbbbbbbb', { id: 't-2', held: true });
const DONE = rawJob('acme-echo-cccccccccccc', { id: 't-3', as: 'completed' });
const FAILED = rawJob('globex-echo-dddddddddddd', { id: 't-4', client: 'globex', as: 'failed' });
const forbidden = new ServiceError(
  'forbidden',
  'Forbidden',
  'User "ann" cannot list resource "jobs" in API group "batch" in the namespace "slipway"',
);

describe('tasks', () => {
  test('asks for no more than is wanted, and says when there is nothing', async () => {
    const at = setUp(RUNNING, HELD, FAILED);
    const { code, out } = await at.run('tasks', '--client', 'globex', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject([{ task: 't-4', state: 'failed' }]);
    expect(at.api.requests[0]?.query?.['labelSelector']).toBe(
      'app.kubernetes.io/managed-by=slipway,slipway.dev/client=globex',
    );
    expect((await at.run('tasks', '--state', 'waiting')).out).toMatch(/^t-2 .* its type has no room$/m);
    expect(await at.run('tasks', '--type', 'other')).toMatchObject({
      code: 0,
      out: 'No task of type other has a Job in namespace slipway.\n',
    });
  });

  test('a missing right is named, and where it is told', async () => {
    const at = setUp(RUNNING);
    at.api.refuse = () => forbidden;
    const { code, out, err } = await at.run('tasks');
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^slipway: you lack the right to list jobs\.batch in namespace slipway: .*docs\/cli\.md/);
  });

  test('--watch tells each change, and what is gone', async () => {
    const at = setUp(HELD);
    const running = at.run('tasks', '--watch');
    await settled();
    at.api.put({ ...HELD, spec: { ...HELD.spec, suspend: false } });
    await settled();
    at.api.put({ ...HELD, spec: { ...HELD.spec, suspend: false } });
    at.api.remove('acme-echo-bbbbbbbbbbbb');
    await settled();
    at.stop.abort();
    expect(await running).toMatchObject({ code: 130, err: '' });
    const [head = '', ...lines] = at.said.out.trimEnd().split('\n');
    expect(lines.map((line) => line.slice(head.indexOf('STATE')).split(' ')[0])).toEqual([
      'waiting',
      'starting',
      'gone',
    ]);
  });

  test('no line passes the width of a terminal', async () => {
    const at = setUp(RUNNING, HELD, FAILED);
    at.onTerminal(70);
    const { out } = await at.run('tasks');
    const plain = stripVTControlCharacters(out);
    expect(plain).not.toBe(out);
    expect(Math.max(...plain.split('\n').map((line) => line.length))).toBeLessThanOrEqual(70);
  });
});

describe('several namespaces', () => {
  const ci = rawJob('acme-ci-eeeeeeeeeeee', { id: 'c-1' });
  const inCi = { ...ci, metadata: { ...ci.metadata, namespace: 'ci' } };

  test('are listed, told of and drained together', async () => {
    const { run } = setUp(RUNNING, inCi);
    expect((await run('tasks', '-n', 'slipway')).out).not.toContain('c-1');
    const { out } = await run('tasks', '-n', 'slipway,ci');
    expect(out).toMatch(/t-1/);
    expect(out).toMatch(/c-1/);
    expect((await run('tasks', '-n', 'slipway,ci', '--task', 'nothing')).out).toContain(
      'No task of id nothing has a Job in namespaces slipway and ci.',
    );
  });

  test('a task is cancelled where it is', async () => {
    const { run, api } = setUp(inCi);
    expect((await run('cancel', '-n', 'slipway,ci', 'c-1')).out).toMatch(/^asked +c-1/);
    expect(api.requests.find(({ method }) => method === 'PATCH')?.path).toMatch(/namespaces\/ci\/jobs/);
  });
});

describe('why', () => {
  test.each(['t-4', 'globex-echo-dddddddddddd', MESSAGE_ID])('finds a task by %s', async (name) => {
    const at = setUp(FAILED);
    at.api.pods.push(rawPod('globex-echo-dddddddddddd', 'failed'));
    const { code, out } = await at.run('why', name);
    expect(code).toBe(0);
    expect(out).toMatch(/^Why: +TaskFailed: the handler threw$/m);
    expect(out).toContain('kubectl logs -n slipway job/globex-echo-dddddddddddd');
  });

  test('several Jobs of one id are listed, and none is chosen', async () => {
    const at = setUp(RUNNING, rawJob('acme-echo-eeeeeeeeeeee', { id: 't-1' }));
    const { code, out, err } = await at.run('why', 't-1');
    expect({ code, err }).toEqual({ code: 1, err: 'slipway: 2 Jobs fit t-1. Name one of them\n' });
    expect(out).toMatch(/acme-echo-aaaaaaaaaaaa[\s\S]*acme-echo-eeeeeeeeeeee/);
  });

  test('without a Job: what that can mean, and what the poison queues hold where they can be asked', async () => {
    const at = setUp();
    const blind = await at.run('why', 't-9');
    expect(blind).toMatchObject({ code: 1, err: expect.stringContaining('no Job in namespace slipway') });
    expect(blind.out).toMatch(
      /^- It is still in its queue[\s\S]*^- It failed, and is among the poisoned: slipway poison list$/m,
    );
    at.withAccount();
    at.queues.create('acme-tasks-poison');
    const empty = await at.run('why', 't-9');
    expect(empty.out).toContain('The poison queues do not have it.');
    const envelope: PoisonEnvelope = {
      slipway: 1,
      id: MESSAGE_ID,
      queue: 'acme-tasks',
      reason: 'TaskFailed: no such file',
      diagnosis: diagnose('TaskFailed', 'no such file'),
      attempts: [],
      insertedOn: null,
      poisonedOn: '2026-01-01T00:00:00.000Z',
      encoding: 'plain',
      original: '{"task_id":"t-9"}',
    };
    at.queues.send('acme-tasks-poison', formatEnvelope(envelope), -1);
    const found = await at.run('why', 't-9');
    expect(found).toMatchObject({ code: 1 });
    expect(found.out).toBe(
      `It is poisoned in acme-tasks-poison since 2026-01-01T00:00:00Z: TaskFailed: no such file\n  slipway poison show acme-tasks-poison ${MESSAGE_ID}\n`,
    );
    expect(at.queues.messages('acme-tasks-poison')[0]?.visibleOn).toBeLessThanOrEqual(at.clock.now());
  });
});

describe('cancel', () => {
  const wish = (at: ReturnType<typeof setUp>, name: string) =>
    at.api.jobs.get(name)?.metadata?.annotations?.[ANNOTATION.cancel];

  test.each([
    ['a leader that renews', lease(EPOCH - 2000), 'The operator ends it in seconds'],
    ['a Lease given back', lease(EPOCH, ''), 'No operator seems to run: it is cancelled as soon as an operator runs'],
    [
      'a Lease not renewed',
      lease(EPOCH - 60_000),
      'No operator seems to run: it is cancelled as soon as an operator runs',
    ],
    ['no Lease', undefined, 'It is cancelled as soon as an operator runs: at once where one does'],
  ])('writes the wish, and says when it is carried out: %s', async (_what, held, prospect) => {
    const at = setUp(RUNNING, HELD);
    at.api.lease = held;
    const { code, out, err } = await at.run('cancel', 't-1', 't-2', '--reason', 'ordered twice');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toBe(
      `asked       t-1 (acme-echo-aaaaaaaaaaaa), which was starting. ${prospect}\nasked       t-2 (acme-echo-bbbbbbbbbbbb), which was waiting. ${prospect}\n`,
    );
    for (const name of ['acme-echo-aaaaaaaaaaaa', 'acme-echo-bbbbbbbbbbbb'])
      expect(wish(at, name)).toBe('ordered twice');
  });

  test('without the right to read Leases, the lease on the message tells', async () => {
    const at = setUp(RUNNING);
    at.api.refuse = ({ path }) => (path.includes('/leases/') ? forbidden : undefined);
    expect((await at.run('cancel', 't-1', '--dry-run')).out).toContain('would ask');
    expect(wish(at, 'acme-echo-aaaaaaaaaaaa')).toBeUndefined();
    at.clock.jump(61_000);
    expect((await at.run('cancel', 't-1')).out).toContain('No operator seems to run');
    expect(wish(at, 'acme-echo-aaaaaaaaaaaa')).toBe('true');
  });

  test('what is over, what is not there, and what several Jobs fit is refused; the others are asked for', async () => {
    const at = setUp(RUNNING, DONE, HELD, rawJob('acme-echo-eeeeeeeeeeee', { id: 't-2', held: true }));
    const { code, out, err } = await at.run('cancel', 't-3', 't-9', 't-2', 't-1');
    expect(code).toBe(1);
    expect(err).toContain('failed      t-3: it is over: it completed at 2026-01-01T00:00:00Z');
    expect(err).toContain('failed      t-9: no such task has a Job in namespace slipway: slipway why t-9 tells');
    expect(err).toMatch(/failed {6}t-2: several Jobs fit\. Name one of them:\nTASK[\s\S]*acme-echo-eeeeeeeeeeee/);
    expect(out).toMatch(/^asked +t-1 /);
    expect(at.api.requests.filter(({ method }) => method === 'PATCH')).toHaveLength(1);
  });

  test('of several runs of one id the one that is not over is meant', async () => {
    const at = setUp(rawJob('acme-echo-eeeeeeeeeeee', { id: 't-1', as: 'failed' }), RUNNING);
    expect(await at.run('cancel', 't-1')).toMatchObject({ code: 0 });
    expect(wish(at, 'acme-echo-aaaaaaaaaaaa')).toBe('true');
    expect(wish(at, 'acme-echo-eeeeeeeeeeee')).toBeUndefined();
  });

  test('a task that ends in the same moment, and one whose Job goes, are told', async () => {
    const at = setUp(RUNNING);
    at.api.refuse = ({ method }) => {
      if (method === 'PATCH') at.api.put(rawJob('acme-echo-aaaaaaaaaaaa', { id: 't-1', as: 'completed' }));
      return undefined;
    };
    expect(await at.run('cancel', 't-1')).toMatchObject({
      code: 1,
      err: expect.stringContaining('it ended at this moment'),
    });
    at.api.put(RUNNING);
    at.api.refuse = ({ method }) => {
      if (method === 'PATCH') at.api.remove('acme-echo-aaaaaaaaaaaa');
      return undefined;
    };
    expect(await at.run('cancel', 't-1')).toMatchObject({
      code: 1,
      err: expect.stringContaining('its Job was deleted'),
    });
  });

  test('--wait ends when it is settled, reminds of the operator, and fails when it completed all the same', async () => {
    const at = setUp(RUNNING);
    const running = at.run('cancel', 't-1', '--wait');
    await settled();
    await at.clock.advance(61_000);
    expect(at.said.err).toContain('1 still waited for. Does an operator run?');
    at.api.put(rawJob('acme-echo-aaaaaaaaaaaa', { id: 't-1', as: 'completed' }));
    await settled();
    expect(await running).toMatchObject({
      code: 1,
      err: expect.stringContaining('it completed before it could be cancelled'),
    });
  });
});

describe('drain', () => {
  test('ends at once where nothing is open', async () => {
    expect(await setUp(DONE, FAILED).run('drain')).toMatchObject({
      code: 0,
      out: 'Drained after 0s: nothing runs or is owed in namespace slipway.\n',
    });
  });

  test('waits for the last one, and says that new tasks keep coming', async () => {
    const at = setUp(RUNNING);
    const running = at.run('drain');
    await settled();
    expect(at.said.err).toBe('1 running, 0 waiting, 0 settling, 0 webhooks owed, after 0s\n');
    at.api.put(HELD);
    await settled();
    expect(at.said.err).toContain('new tasks keep coming, so this may never end. Set receiving: false');
    at.api.put(rawJob('acme-echo-aaaaaaaaaaaa', { id: 't-1', as: 'completed' }));
    await settled();
    expect(at.said.out).toBe('');
    at.api.put(rawJob('acme-echo-bbbbbbbbbbbb', { id: 't-2', as: 'completed' }));
    await settled();
    expect(await running).toMatchObject({ code: 0, out: expect.stringMatching(/^Drained after /) });
  });

  test('gives up after its time, with what is left; a client’s own is enough', async () => {
    const at = setUp(RUNNING, FAILED);
    at.api.lease = lease(EPOCH, '');
    expect(await at.run('drain', '--client', 'globex')).toMatchObject({ code: 0 });
    const running = at.run('drain', '--timeout', '90s');
    await settled();
    await at.clock.advance(90_000);
    const { code, out, err } = await running;
    expect(code).toBe(1);
    expect(err).toContain('no operator seems to run, so nothing will be settled');
    expect(err).toContain('not drained after 90s: 1 left in namespace slipway');
    expect(out).toMatch(/^t-1 +acme +echo +starting /m);
  });

  test('a failed list is no empty one', async () => {
    const at = setUp();
    at.api.refuse = () => new ServiceError('unavailable', '503', 'no answer');
    expect(await at.run('drain')).toMatchObject({ code: 1, out: '', err: 'slipway: no answer\n' });
  });
});

describe('usage', () => {
  test.each([
    [['why']],
    [['cancel']],
    [['tasks', 'extra']],
    [['tasks', '--state', 'sleeping']],
    [['drain', '--timeout', 'soon']],
    [['cancel', 't-1', '--reason', 'x'.repeat(501)]],
  ])('%j is not understood', async (args) => {
    const at = setUp(RUNNING);
    const { code, err } = await at.run(...args);
    expect(code).toBe(2);
    expect(err).not.toBe('');
    expect(at.api.requests).toEqual([]);
  });

  test.each(['tasks', 'why', 'cancel', 'drain'])('%s --help has examples', async (command) => {
    const { code, out } = await setUp().run(command, '--help');
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`Examples:\\n {2}slipway ${command}`));
  });
});
