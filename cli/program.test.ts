import { describe, expect, test } from 'vitest';
import { diagnose } from '../contract/diagnosis.ts';
import { formatEnvelope } from '../contract/poison.ts';
import { ServiceError } from '../lib/errors.ts';
import { FakeQueues } from '../testing/fake-queue.ts';
import { VirtualClock } from '../testing/virtual-clock.ts';
import { runProgram } from './program.ts';

const QUEUE = 'acme-tasks';
const POISON = 'acme-tasks-poison';

function envelope(id: string, more: { readonly original?: string; readonly queue?: string } = {}): string {
  return formatEnvelope({
    slipway: 1,
    id,
    queue: QUEUE,
    reason: 'TaskFailed: no such file',
    diagnosis: diagnose('TaskFailed', 'no such file'),
    attempts: [],
    insertedOn: null,
    poisonedOn: '2026-01-01T00:00:00.000Z',
    encoding: 'plain',
    original: `{"task_id":"${id}"}`,
    ...more,
  });
}

const unused = {
  readText: async () => ({ problem: 'there are no files here' }),
  openCluster: () => ({ problem: 'there is no cluster here' }),
  inspectQueues: () => {
    throw new Error('no queue is looked at here');
  },
  storageAccess: () => ({ kind: 'invalid', problem: 'not set' }) as const,
};

function setUp(...poisoned: readonly string[]) {
  const clock = new VirtualClock();
  const effects: string[] = [];
  const queues = new FakeQueues(clock, effects);
  queues.create(QUEUE, POISON);
  for (const text of poisoned) queues.send(POISON, text, -1);
  const stop = new AbortController();
  let columns: number | undefined;
  const run = async (...args: readonly string[]) => {
    let out = '';
    let err = '';
    const code = await runProgram(['poison', ...args], {
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
      colour: columns !== undefined,
      columns,
      clock,
      stopping: stop.signal,
      connect: () => queues,
      ...unused,
      connectIfNamed: () => queues,
      connectCluster: () => 78,
    });
    return { code, out, err };
  };
  const visible = () => queues.messages(POISON).filter(({ visibleOn }) => visibleOn <= clock.now()).length;
  const onTerminal = (width: number) => {
    columns = width;
  };
  return {
    clock,
    queues,
    effects,
    run,
    stop,
    visible,
    onTerminal,
    texts: (queue: string) => queues.messages(queue).map(({ text }) => text),
  };
}

const refused = (kind: 'forbidden' | 'unknown' | 'unavailable' | 'throttled') =>
  new ServiceError(kind, 'Code', 'refused');

describe('reading', () => {
  test('all of a long queue is read, and all of it is visible again', async () => {
    const at = setUp(...Array.from({ length: 100 }, (_, n) => envelope(`m-${n}`)));
    const { code, out } = await at.run('list', QUEUE, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toHaveLength(100);
    expect(at.visible()).toBe(100);
    expect(at.effects.some((line) => line.startsWith('remove'))).toBe(false);
  });

  test('ends where reading outlasts the leases, with each message once', async () => {
    const at = setUp(...Array.from({ length: 70 }, (_, n) => envelope(`m-${n}`)));
    at.queues.before = async ({ operation }) => {
      if (operation === 'receive') await at.clock.advance(31_000);
    };
    const { out } = await at.run('list', QUEUE, '--json');
    expect(JSON.parse(out)).toHaveLength(70);
  });

  test('what was received is given back after an error, which is told', async () => {
    const at = setUp(...Array.from({ length: 40 }, (_, n) => envelope(`m-${n}`)));
    let receives = 0;
    at.queues.before = ({ operation }) => {
      if (operation === 'receive' && ++receives === 2) throw refused('throttled');
    };
    expect(await at.run('list', QUEUE)).toMatchObject({ code: 1, out: '', err: 'slipway: refused\n' });
    expect(at.visible()).toBe(40);
  });

  test('what was received is given back after Ctrl-C', async () => {
    const at = setUp(...Array.from({ length: 40 }, (_, n) => envelope(`m-${n}`)));
    at.queues.after = ({ operation }) => {
      if (operation === 'receive') at.stop.abort();
    };
    for (const command of [
      ['list', QUEUE],
      ['redrive', QUEUE, '--all'],
    ])
      expect(await at.run(...command)).toMatchObject({
        code: 130,
        out: '',
        err: expect.stringContaining('given back'),
      });
    expect(at.visible()).toBe(40);
    expect(at.texts(QUEUE)).toEqual([]);
  });

  test('a message that cannot be given back is told, and is no failure', async () => {
    const at = setUp(envelope('m-1'));
    at.queues.before = ({ operation }) => {
      if (operation === 'renew') throw refused('unavailable');
    };
    const { code, err } = await at.run('list', QUEUE);
    expect(code).toBe(0);
    expect(err).toContain('1 of the messages of acme-tasks-poison could not be given back');
  });

  test('a SAS that must not list is told so, and what to do', async () => {
    const at = setUp();
    at.queues.before = ({ operation }) => {
      if (operation === 'list') throw refused('forbidden');
    };
    const { code, err } = await at.run('list');
    expect(code).toBe(1);
    expect(err).toContain('needs the right "list" on the service for that. Name a queue instead');
  });

  test('a queue that cannot be read hides no other', async () => {
    const at = setUp(envelope('m-1'));
    at.queues.create('bad-tasks-poison', 'gone-tasks-poison');
    at.queues.before = ({ operation, queue }) => {
      if (operation === 'receive' && queue === 'bad-tasks-poison') throw refused('forbidden');
      if (operation === 'receive' && queue === 'gone-tasks-poison') at.queues.drop(queue);
    };
    const { code, out, err } = await at.run('list');
    expect({ code, err }).toEqual({ code: 1, err: 'slipway: refused. Its tasks are missing here\n' });
    expect(out).toContain('m-1');
  });

  test('colour and cutting are for terminals only', async () => {
    const at = setUp(envelope('m-1'));
    const piped = await at.run('list', QUEUE);
    at.onTerminal(80);
    const shown = await at.run('list', QUEUE);
    expect(piped.out).not.toContain('\u001b');
    expect(shown.out).toContain('\u001b[1m');
    expect((await at.run('show', QUEUE, 'm-1')).out).toContain('\u001b[31mTaskFailed');
  });

  test('a message nested too deeply to be indented is shown as it is', async () => {
    const original = `{"payload":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    const at = setUp(envelope('m-1', { original }));
    expect((await at.run('show', QUEUE, 'm-1')).out).toContain(original);
  });
});

describe('redriving', () => {
  test('puts first and deletes last', async () => {
    const at = setUp(envelope('m-1'), envelope('m-1'));
    expect(await at.run('redrive', QUEUE, 'm-1')).toMatchObject({ code: 0, err: '' });
    expect(at.effects.filter((line) => !line.startsWith('renew')).map((line) => line.split(' ', 2).join(' '))).toEqual([
      `put ${QUEUE}`,
      `remove ${POISON}`,
      `remove ${POISON}`,
    ]);
    const [message] = at.queues.messages(QUEUE);
    expect((message?.expiresOn ?? 0) - at.clock.now()).toBe(7 * 86_400_000);
  });

  test.each(['forbidden', 'unknown'] as const)('nothing is deleted when the put ends as %s', async (kind) => {
    const at = setUp(envelope('m-1'));
    at.queues.before = ({ operation }) => {
      if (operation === 'put') throw refused(kind);
    };
    const { code, out, err } = await at.run('redrive', QUEUE, '--all');
    expect(code).toBe(1);
    expect(out).toBe('0 redriven, 1 failed.\n');
    expect(err).toContain(kind === 'unknown' ? 'Whether it was put is not known' : 'Nothing was put');
    expect(at.visible()).toBe(1);
  });

  test('a copy that cannot be deleted is told with what it means', async () => {
    const at = setUp(envelope('m-1'));
    at.queues.before = ({ operation }) => {
      if (operation === 'remove') throw refused('unavailable');
    };
    const { code, err } = await at.run('redrive', QUEUE, 'm-1');
    expect(code).toBe(1);
    expect(err).toContain('it was put into acme-tasks, but 1 of 1 copies in acme-tasks-poison could not be deleted');
    expect(at.texts(QUEUE)).toHaveLength(1);
    expect(at.visible()).toBe(1);
  });

  test('what another redrive holds is not put a second time', async () => {
    const at = setUp(envelope('m-1'));
    let taken = false;
    at.queues.after = async ({ operation }) => {
      if (operation !== 'receive' || taken) return;
      taken = true;
      await at.clock.advance(31_000);
      await at.queues.receive(POISON, 32, 30);
    };
    const { code, err } = await at.run('redrive', QUEUE, '--all');
    expect(code).toBe(1);
    expect(err).toContain('somebody else is reading it');
    expect(at.texts(QUEUE)).toEqual([]);
  });

  test('a task of another queue, and one whose copies differ, stay', async () => {
    const at = setUp(envelope('m-1', { queue: 'globex-tasks' }), envelope('m-2'), envelope('m-2', { original: '{}' }));
    const { code, err } = await at.run('redrive', QUEUE, '--all');
    expect(code).toBe(1);
    expect(err).toContain('its envelope says that it came from globex-tasks, not from acme-tasks');
    expect(err).toContain('its copies hold different originals');
    expect(at.texts(QUEUE)).toEqual([]);
    expect(at.visible()).toBe(3);
  });

  test('Ctrl-C lets the task in hand be finished and leaves the others', async () => {
    const at = setUp(envelope('m-1'), envelope('m-2'));
    at.queues.after = ({ operation }) => {
      if (operation === 'put') at.stop.abort();
    };
    const { code, out } = await at.run('redrive', QUEUE, '--all');
    expect(code).toBe(130);
    expect(out).toContain('1 redriven, 0 failed, 1 left as they were, because it was stopped.');
    expect([at.texts(QUEUE).length, at.visible()]).toEqual([1, 1]);
  });
});

describe('usage', () => {
  test.each([
    [[]],
    [['show', QUEUE]],
    [['list', 'No Queue']],
    [['redrive', QUEUE]],
    [['redrive', QUEUE, 'm-1', '--all']],
    [['show', QUEUE, 'm-1', '--raw', '--json']],
    [['list', '--colour']],
    [['rm', QUEUE]],
  ])('%j is not understood', async (args) => {
    const at = setUp(envelope('m-1'));
    const { code, err } = await at.run(...args);
    expect(code).toBe(2);
    expect(err).not.toBe('');
    expect(at.effects).toEqual([]);
  });

  test.each(['list', 'show', 'redrive'])('%s --help has examples', async (command) => {
    const { code, out } = await setUp().run(command, '--help');
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`Examples:\\n {2}slipway poison ${command}`));
  });
});
