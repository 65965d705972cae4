import { describe, expect, test } from 'vitest';
import { ANNOTATION, LABEL } from '../contract/identity.ts';
import { parseEnvelope } from '../contract/poison.ts';
import { type ErrorKind, ServiceError } from '../lib/errors.ts';
import { WEBHOOK_URL } from '../testing/jobs.ts';
import { task, World } from '../testing/rig.ts';
import { settled } from '../testing/virtual-clock.ts';

const QUEUE = 'acme-tasks';
const POISON = 'acme-tasks-poison';

/** A world with one message, and an operator that sees it and delivers only when told. */
async function setUp({ message = task('t-1') as unknown, yaml = undefined as string | undefined } = {}) {
  const world = new World(yaml);
  const id = world.queues.send(QUEUE, message);
  const life = world.rest();
  life.observe();
  await settled();
  const poison = () => world.queues.messages(POISON).map(({ text }) => parseEnvelope(text));
  const message1 = () => world.queues.messages(QUEUE)[0];
  return { world, life, id, poison, message: message1, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

const refused = (kind: ErrorKind) => new ServiceError(kind, 'Code', `refused as ${kind}`);

describe('a message without a Job', () => {
  test('becomes one, which carries its receipt', async () => {
    await using at = await setUp();
    await at.life.deliverNext();
    const job = await at.world.theJob();
    expect(at.world.effects).toEqual([`create ${job.name}`]);
    expect(job.annotations).toMatchObject({
      [ANNOTATION.messageId]: at.id,
      [ANNOTATION.popReceipt]: at.message()?.popReceipt,
    });
    expect(at.life.view.job(job.name)).toBeDefined();
    expect(at.life.leases.bound(job.name)?.condition).toBe('held');
    expect(at.life.free).toBe(19);
  });

  test('I9: gives the runner its text byte for byte, whichever way it was written', async () => {
    const text = ' {"task_id":"t-1",\n"task_type":"echo","payload":{"x":"$(HOME) $$ ü"}} ';
    await using at = await setUp({ message: Buffer.from(text).toString('base64') });
    await at.life.deliverNext();
    const job = await at.world.theJob();
    expect((await at.world.store.get(job.name))?.taskData).toBe(text);
    expect(job.annotations[ANNOTATION.encoding]).toBe('base64');
  });

  test('I6: holds its slot until the Job is seen, and gives it back when none came of it', async () => {
    await using at = await setUp({ message: 'no task' });
    await at.life.deliverNext();
    expect(at.life.free).toBe(20);
  });

  test('is put back when its type is paused, for five minutes', async () => {
    await using at = await setUp();
    at.life.types.refuse('echo', 'the server refuses it');
    await at.life.deliverNext();
    expect(at.world.effects).toEqual([`renew ${QUEUE} ${at.id} 300`]);
    expect(await at.world.jobs()).toEqual([]);
    await at.world.clock.advance(300_000);
    expect(await at.world.queues.receive(QUEUE, 1, 60)).toHaveLength(1);
  });
});

describe('a Job that the server refuses as invalid', () => {
  test('I7: pauses its type and keeps the message: a wrong configuration must not poison a queue', async () => {
    await using at = await setUp();
    at.world.before = ({ method }) => {
      if (method === 'create') throw refused('invalid');
    };
    await at.life.deliverNext();
    expect(at.life.types.pausedBecause('echo')).toBe('the API server refuses its Job: refused as invalid');
    expect(at.poison()).toEqual([]);
    expect(at.world.effects).toEqual([`renew ${QUEUE} ${at.id} 300`]);
    expect(at.life.free).toBe(20);
  });
});

describe('a Job that the server does not take now', () => {
  test.each<ErrorKind>(['forbidden', 'throttled', 'unavailable', 'unknown'])(
    'I7: (%s) is tried again, with the message and its lease kept, and its type not paused',
    async (kind) => {
      await using at = await setUp();
      const end = at.world.clock.monotonic() + 600_000;
      at.world.before = ({ method }) => {
        if (method === 'create' && at.world.clock.monotonic() < end) throw refused(kind);
      };
      const delivery = at.life.deliverNext();
      await at.world.clock.advance(590_000);
      expect(await at.world.queues.receive(QUEUE, 1, 60)).toEqual([]);
      expect(at.message()?.dequeueCount).toBe(1);
      expect(at.life.types.paused.size).toBe(0);
      expect(at.life.free).toBe(19);
      await at.world.clock.advance(30_000);
      await delivery;
      expect((await at.world.theJob()).annotations[ANNOTATION.popReceipt]).toBe(at.message()?.popReceipt);
    },
  );

  test('I7: (no answer, each time for as long as a call may take) is no reason to let the lease end', async () => {
    await using at = await setUp();
    let hanging = true;
    at.world.before = async ({ method }) => {
      if (method !== 'create' || !hanging) return;
      await at.world.clock.sleep(30_000, new AbortController().signal);
      throw refused('unknown');
    };
    const delivery = at.life.deliverNext();
    for (let seconds = 0; seconds < 300; seconds += 5) {
      await at.world.clock.advance(5000);
      expect(await at.world.queues.receive(QUEUE, 1, 60), `after ${seconds} s`).toEqual([]);
    }
    hanging = false;
    await at.world.clock.advance(60_000);
    await delivery;
    expect(at.message()?.dequeueCount).toBe(1);
  });

  test('is not tried for ever: when the lease is lost, the message is left to who has it', async () => {
    await using at = await setUp();
    at.world.before = () => {
      throw refused('unavailable');
    };
    const delivery = at.life.deliverNext();
    await settled();
    at.world.queues.drop(QUEUE);
    await at.world.clock.advance(60_000);
    await delivery;
    expect(at.life.free).toBe(20);
  });
});

describe('a create without an answer', () => {
  test('I1: that was carried out is found by its name, and adopted', async () => {
    await using at = await setUp();
    let answers = 0;
    at.world.after = ({ method }) => {
      if (method === 'create' && answers++ === 0) throw refused('unknown');
    };
    // The watch is late: nothing tells that the Job is there.
    at.life.view.observe = () => undefined;
    const delivery = at.life.deliverNext();
    await at.world.clock.advance(10_000);
    await delivery;
    expect(await at.world.jobs()).toHaveLength(1);
    expect(at.life.passed).toContain('adopted');
  });

  test('I6: keeps its slot taken meanwhile: the Job may be there', async () => {
    await using at = await setUp({ yaml: 'limits: { maxRunning: 1 }\ntaskTypes: { echo: {} }' });
    at.life.view.observe = () => undefined;
    let lost = true;
    at.world.after = ({ method }) => {
      if (method === 'create' && lost) throw refused('unknown');
    };
    at.world.before = ({ method }) => {
      if (method === 'get' && lost) throw refused('unavailable');
    };
    const delivery = at.life.deliverNext();
    await at.world.clock.advance(20_000);
    expect(await at.world.jobs()).toHaveLength(1);
    expect(at.life.free).toBe(0);
    lost = false;
    await at.world.clock.advance(20_000);
    await delivery;
    expect(at.life.view.job((await at.world.theJob()).name)).toBeDefined();
  });
});

describe('a message that comes again', () => {
  test('I1: is given to its running Job: no second one is made, and the newest receipt stands on it', async () => {
    await using at = await setUp({ message: task('t-1', { runMs: 3_600_000 }) });
    await at.life.deliverNext();
    const { name } = await at.world.theJob();
    await at.world.clock.advance(60_000);
    at.world.newEffects();
    await at.life.deliverNext();
    expect(at.world.newEffects()).toEqual([`patch ${name}: pop-receipt, lease-until, dequeue-count`]);
    expect((await at.world.theJob()).annotations).toMatchObject({
      [ANNOTATION.popReceipt]: at.message()?.popReceipt,
      [ANNOTATION.dequeueCount]: '2',
    });
    expect(at.life.leases.bound(name)?.state.popReceipt).toBe(at.message()?.popReceipt);
    expect(at.life.free).toBe(19);
  });

  test('I1: finds its Job by a live read when this operator has not seen it', async () => {
    await using at = await setUp({ message: task('t-1', { runMs: 3_600_000 }) });
    await at.life.deliverNext();
    await at.world.clock.advance(60_000);
    const other = at.world.rest();
    other.view.observe({ kind: 'listed', jobs: [], pods: [] });
    await other.deliverNext();
    expect(await at.world.jobs()).toHaveLength(1);
    expect(other.passed).toContain('adopted');
    expect(other.view.job((await at.world.theJob()).name)).toBeDefined();
  });

  test('I10: is not judged anew: its task runs, whatever the configuration says by now', async () => {
    await using at = await setUp({ message: task('t-1', { runMs: 3_600_000 }) });
    await at.life.deliverNext();
    await at.world.clock.advance(60_000);
    // The change resumes all types, so the refusal comes after it.
    at.world.liveConfig.replace({ ...at.world.config, policies: new Map() });
    at.life.types.refuse('echo', 'refused');
    await at.life.deliverNext();
    expect(at.poison()).toEqual([]);
    expect(at.life.passed).toContain('adopted');
  });

  test('is deleted when its task is settled', async () => {
    await using at = await setUp();
    await at.life.deliverNext();
    const { name } = await at.world.theJob();
    await at.world.clock.advance(60_000);
    await at.world.store.patch(name, { labels: { [LABEL.state]: 'settled' } });
    await settled();
    await at.life.deliverNext();
    expect(at.message()).toBeUndefined();
    expect(await at.world.jobs()).toHaveLength(1);
  });

  test('I1: waits while its Job is being deleted, and while a pod of it is left', async () => {
    await using at = await setUp({ message: task('t-1', { runMs: 3_600_000 }) });
    await at.life.deliverNext();
    const job = await at.world.theJob();
    const [pod] = at.life.view.pods(job.name);
    if (pod === undefined) throw new Error('there is no pod');
    await at.world.clock.advance(60_000);
    const observe = at.life.view.observe.bind(at.life.view);
    at.life.view.observe = () => undefined;
    at.life.view.learn({ ...job, deleting: true });
    at.world.newEffects();
    const delivery = at.life.deliverNext();
    await at.world.clock.advance(30_000);
    expect(at.world.newEffects()).toEqual([]);
    at.world.store.remove(job.name);
    observe({ kind: 'job-gone', job });
    await at.world.clock.advance(30_000);
    expect(at.world.effects.filter((line) => line.startsWith('create'))).toEqual([]);
    observe({ kind: 'pod-gone', pod });
    await at.world.clock.advance(30_000);
    await delivery;
    expect((await at.world.theJob()).uid).not.toBe(job.uid);
    expect(at.world.doubles).toEqual([]);
  });

  test('makes a new Job beside a pod that was left to itself and has ended', async () => {
    await using at = await setUp();
    await at.life.deliverNext();
    const job = await at.world.theJob();
    await at.world.clock.advance(60_000);
    const [pod] = at.life.view.pods(job.name);
    expect(pod?.phase).toBe('Succeeded');
    const other = at.world.rest();
    other.view.observe({ kind: 'listed', jobs: [], pods: pod === undefined ? [] : [pod] });
    at.world.store.remove(job.name);
    await settled();
    await other.deliverNext();
    expect((await at.world.theJob()).uid).not.toBe(job.uid);
  });

  test('makes a new Job when its own has gone for good', async () => {
    await using at = await setUp({ message: task('t-1', { runMs: 3_600_000 }) });
    await at.life.deliverNext();
    const job = await at.world.theJob();
    await at.world.clock.advance(60_000);
    at.life.view.observe = () => undefined;
    at.world.store.remove(job.name);
    await settled();
    const delivery = at.life.deliverNext();
    await settled();
    delete (at.life.view as Partial<typeof at.life.view>).observe;
    at.life.view.observe({ kind: 'job-gone', job });
    for (const pod of at.life.view.pods(job.name)) at.life.view.observe({ kind: 'pod-gone', pod });
    await at.world.clock.advance(30_000);
    await delivery;
    expect((await at.world.theJob()).uid).not.toBe(job.uid);
  });
});

describe('a foreign Job of the same name', () => {
  test.each([ANNOTATION.messageId, ANNOTATION.queue, ANNOTATION.account])(
    'I1: (another %s) is left alone, and the message is put back',
    async (annotation) => {
      await using at = await setUp({ message: task('t-1', { runMs: 3_600_000 }) });
      await at.life.deliverNext();
      const { name } = await at.world.theJob();
      await at.world.store.patch(name, { annotations: { [annotation]: 'another' } });
      await at.world.clock.advance(60_000);
      const before = await at.world.theJob();
      at.world.newEffects();
      await at.life.deliverNext();
      expect(at.world.newEffects()).toEqual([`renew ${QUEUE} ${at.id} 300`]);
      expect(await at.world.theJob()).toEqual(before);
      expect(at.poison()).toEqual([]);
    },
  );

  test('I1: of another installation, too', async () => {
    await using at = await setUp({ message: task('t-1', { runMs: 3_600_000 }) });
    await at.life.deliverNext();
    const { name } = await at.world.theJob();
    await at.world.store.patch(name, { labels: { [LABEL.installation]: 'another' } });
    await at.world.clock.advance(60_000);
    at.world.newEffects();
    await at.life.deliverNext();
    expect(at.world.newEffects()).toEqual([`renew ${QUEUE} ${at.id} 300`]);
  });
});

describe('a message that can be no task', () => {
  test.each<[what: string, message: unknown, reason: RegExp]>([
    ['not JSON', 'garbage', /^Malformed: message is neither JSON/],
    ['no object', [1], /^Malformed: message must be a JSON object, got an array$/],
    ['a field missing', { task_type: 'echo' }, /^Malformed: task_id is missing$/],
    [
      'two wrong fields',
      { task_id: 7, task_type: '' },
      /^Malformed: task_id must be a string, got a number; task_type must not be empty$/,
    ],
    ['an unknown type', { task_id: 't', task_type: 'none' }, /^UnknownTaskType: task_type "none" is not configured$/],
    ['a type that every object inherits', { task_id: 't', task_type: 'constructor' }, /^UnknownTaskType: /],
    ['the type __proto__', '{"task_id":"t","task_type":"__proto__"}', /^UnknownTaskType: /],
  ])('I7: is poisoned with a reason, and deleted: %s', async (_, message, reason) => {
    await using at = await setUp({ message });
    await at.life.deliverNext();
    expect(at.poison()).toMatchObject([{ id: at.id, queue: QUEUE, reason: expect.stringMatching(reason) }]);
    expect(at.poison()[0]?.original).toBe(typeof message === 'string' ? message : JSON.stringify(message));
    expect(at.world.effects).toEqual([`create ${POISON}`, `put ${POISON}`, `remove ${QUEUE} ${at.id}`]);
    expect(await at.world.jobs()).toEqual([]);
  });

  test('I7: is poisoned for its payload where its type is a CI type, each problem with its field', async () => {
    const yaml = 'taskTypes: { ci: { ci: { images: registry.example.com/ci } } }';
    const payload = {
      repository: 'https://git.example.com/a.git',
      ref: 'main',
      image: 'registry.example.com/ci/other/a',
    };
    const message = { task_id: 't', task_type: 'ci', payload: { ...payload, test: { command: 'make' } } };
    await using at = await setUp({ yaml, message });
    await at.life.deliverNext();
    expect(at.poison()).toMatchObject([
      { reason: expect.stringMatching(/^Malformed: payload\.image is not the client's to write/) },
    ]);
    await using other = await setUp({ yaml, message: { ...message, payload: { ref: 'main' } } });
    await other.life.deliverNext();
    expect(other.poison()).toMatchObject([
      { reason: 'Malformed: payload.repository is missing; payload.test is missing' },
    ]);
  });

  test('I7: is poisoned when it came too often without becoming a Job, and not before', async () => {
    await using at = await setUp();
    for (let times = 0; times < 25; times++) {
      await at.world.queues.receive(QUEUE, 1, 1);
      await at.world.clock.advance(1000);
    }
    await at.life.deliverNext();
    expect(at.poison()).toMatchObject([
      { reason: 'RedeliveredTooOften: message was received 26 times without becoming a Job' },
    ]);
    await using fine = await setUp();
    for (let times = 0; times < 24; times++) {
      await fine.world.queues.receive(QUEUE, 1, 1);
      await fine.world.clock.advance(1000);
    }
    await fine.life.deliverNext();
    expect(await fine.world.jobs()).toHaveLength(1);
  });
});

/** Receives the queue's first message so many times without a Job coming of it. */
async function comeBack({ world }: { readonly world: World }, times: number): Promise<void> {
  for (let done = 0; done < times; done++) {
    await world.queues.receive(QUEUE, 32, 1);
    await world.clock.advance(1000);
  }
}

describe('a message that came suspiciously often without becoming a Job', () => {
  test('I7: over 20 times: what the server refuses for good is then the fault of the message, not of its type', async () => {
    await using at = await setUp();
    at.world.before = ({ method }) => {
      if (method === 'create') throw refused('invalid');
    };
    await comeBack(at, 20);
    await at.life.deliverNext();
    expect(at.poison()).toMatchObject([
      { diagnosis: { category: 'InvalidSpec' }, reason: 'InvalidSpec: refused as invalid' },
    ]);
    expect(at.life.types.paused.size).toBe(0);
  });

  test.each<ErrorKind>(['forbidden', 'throttled', 'unavailable', 'unknown'])(
    'I7: over 20 times: an answer that may pass (%s) poisons nothing',
    async (kind) => {
      await using at = await setUp();
      let broken = true;
      at.world.before = ({ method }) => {
        if (method === 'create' && broken) throw refused(kind);
      };
      await comeBack(at, 20);
      const delivery = at.life.deliverNext();
      await at.world.clock.advance(600_000);
      expect([at.poison(), at.message()?.dequeueCount]).toEqual([[], 21]);
      broken = false;
      await at.world.clock.advance(30_000);
      await delivery;
      expect(await at.world.jobs()).toHaveLength(1);
    },
  );

  test('I7: is handled alone: nobody is with it when it may end the operator, and the others go on after it', async () => {
    await using at = await setUp();
    await comeBack(at, 20);
    const inHand = new Set<string>();
    const together: string[][] = [];
    at.world.before = async ({ method, job }) => {
      if (method !== 'create') return;
      inHand.add(job);
      together.push([...inHand]);
      await at.world.clock.sleep(1000, new AbortController().signal);
      inHand.delete(job);
    };
    for (const id of ['t-2', 't-3']) at.world.queues.send(QUEUE, task(id));
    const deliveries = [1, 2, 3].map(() => at.life.deliverNext());
    await at.world.clock.advance(10_000);
    await Promise.all(deliveries);
    const jobs = await at.world.jobs();
    const suspect = jobs.find((job) => job.annotations[ANNOTATION.dequeueCount] === '21')?.name ?? '';
    expect(jobs).toHaveLength(3);
    expect(together.filter((names) => names.includes(suspect))).toEqual([[suspect]]);
  });

  test('I7: over 25 times it is poisoned before anything of it is looked at, but its webhook', async () => {
    await using at = await setUp({
      message: { ...task('t-1', {}, { webhook_url: WEBHOOK_URL }), extra: { a: 1 }, task_id: 7 },
    });
    await comeBack(at, 25);
    await at.life.deliverNext();
    expect(at.poison()).toMatchObject([{ diagnosis: { category: 'RedeliveredTooOften' } }]);
    expect(at.world.webhooks).toMatchObject([{ url: WEBHOOK_URL }]);
  });

  test('I7: one whose Job is there and was only not seen is given to it, not poisoned', async () => {
    await using at = await setUp({ message: task('t-1', { runMs: 3_600_000 }) });
    await at.life.deliverNext();
    const other = at.world.rest();
    other.view.observe({ kind: 'listed', jobs: [], pods: [] });
    await at.world.clock.advance(60_000);
    await comeBack(at, 25);
    await other.deliverNext();
    expect([at.poison(), other.passed]).toEqual([[], ['received', 'adopted']]);
  });

  test('I7: the limit is not for a message whose type is paused', async () => {
    await using at = await setUp();
    at.life.types.refuse('echo', 'refused');
    await comeBack(at, 30);
    await at.life.deliverNext();
    expect([at.poison(), at.message()?.dequeueCount]).toEqual([[], 31]);
  });

  test('I7: a Job that is too large for the server is the fault of its message at once', async () => {
    await using at = await setUp();
    at.world.before = ({ method }) => {
      if (method === 'create') throw new ServiceError('invalid', 'RequestEntityTooLarge', 'the request is too large');
    };
    await at.life.deliverNext();
    expect(at.poison()).toMatchObject([{ reason: 'InvalidSpec: the request is too large' }]);
    expect(at.life.types.paused.size).toBe(0);
  });
});

describe('beside another consumer (lease.shared)', () => {
  const yaml = 'lease: { shared: true }\ntaskTypes: { echo: { attempts: 1, timeoutSeconds: 1000 } }';
  /** Start timeout, task timeout, grace, wait for a node, and an hour for disruptions. */
  const DEADLINE_S = 600 + 1000 + 30 + 3600 + 3600;

  test('I1: the message is hidden until the Job can run no longer, before the Job is made', async () => {
    await using at = await setUp({ yaml });
    await at.life.deliverNext();
    const { name } = await at.world.theJob();
    expect(at.world.effects).toEqual([`renew ${QUEUE} ${at.id} ${DEADLINE_S}`, `create ${name}`]);
    expect((await at.world.theJob()).annotations[ANNOTATION.popReceipt]).toBe(at.message()?.popReceipt);
  });

  test('I1: killed right after the create, the operator hands no running task to the other one', async () => {
    await using at = await setUp({ yaml, message: task('t-1', { runMs: 999_000 }) });
    await at.life.deliverNext();
    at.life.kill();
    await at.world.clock.advance(900_000);
    expect(await at.world.queues.receive(QUEUE, 1, 60)).toEqual([]);
  });

  test('I1: a message that comes back to its running Job is hidden again for the rest of its time', async () => {
    await using at = await setUp({ yaml, message: task('t-1', { runMs: 999_000 }) });
    await at.life.deliverNext();
    const { popReceipt } = at.life.leases.bound((await at.world.theJob()).name)?.state ?? { popReceipt: '' };
    await at.world.queues.renew(QUEUE, at.id, popReceipt, 0);
    await at.world.clock.advance(100_000);
    at.world.newEffects();
    await at.life.deliverNext();
    expect(at.world.effects[0]).toBe(`renew ${QUEUE} ${at.id} ${DEADLINE_S - 100}`);
    expect((await at.world.theJob()).annotations[ANNOTATION.popReceipt]).toBe(at.message()?.popReceipt);
  });

  test('I1: no Job is made of a message that the other one has by now', async () => {
    await using at = await setUp({ yaml });
    at.world.queues.before = async ({ operation }) => {
      if (operation === 'renew') throw refused('lease-lost');
    };
    await at.life.deliverNext();
    expect(await at.world.jobs()).toEqual([]);
    expect(at.life.free).toBe(20);
  });
});

describe('stopping', () => {
  test('I7: a message that waits for the server is given back at once', async () => {
    await using at = await setUp();
    at.world.before = () => {
      throw refused('unavailable');
    };
    const delivery = at.life.deliverNext();
    await at.world.clock.advance(5000);
    at.life.stop.abort();
    await delivery;
    expect(at.world.effects).toEqual([`release ${QUEUE} ${at.id}`]);
    expect(await at.world.queues.receive(QUEUE, 1, 60)).toHaveLength(1);
  });

  test('I1: but not one whose create has had no answer: nobody else is to get it while its Job may come yet', async () => {
    await using at = await setUp();
    at.world.before = ({ method }) => {
      if (method === 'create') throw refused('unknown');
    };
    const delivery = at.life.deliverNext();
    await at.world.clock.advance(5000);
    at.life.stop.abort();
    await delivery;
    expect(at.world.effects).toEqual([]);
    expect(await at.world.queues.receive(QUEUE, 1, 60)).toEqual([]);
    await at.world.clock.advance(60_000);
    expect(await at.world.queues.receive(QUEUE, 1, 60)).toHaveLength(1);
  });

  test('I7: so is one that is received after the signal', async () => {
    await using at = await setUp();
    at.life.stop.abort();
    await at.life.deliverNext();
    expect(at.world.effects).toEqual([`release ${QUEUE} ${at.id}`]);
    expect(await at.world.jobs()).toEqual([]);
  });
});
