/** The messages of the model: one kind for every way that a task can go. */
import { WEBHOOK_URL } from '#/testing/jobs.ts';
import { type Plan, report, task } from '#/testing/rig.ts';

/** How a message's story ends when nobody interferes. */
export type Fate = 'completed' | 'failed' | 'rejected';

interface Script {
  readonly fate: Fate;
  /** What stands in the queue. */
  readonly message: (taskId: string) => unknown;
  /** Whether somebody is to be told how it ended. */
  readonly webhook: boolean;
}

const hook = { webhook_url: WEBHOOK_URL };
const ends = (status: 'completed' | 'failed', webhook: 'delivered' | 'owed' | 'none', exitCode = 0) => ({
  exitCode,
  message: report(status, webhook, status === 'failed' ? { error: { code: 'C', message: 'bad data' } } : { result: 7 }),
});

const run = (fate: Fate, plan: Plan, webhook = false): Script => ({
  fate,
  webhook,
  message: (id) => task(id, plan, webhook ? hook : {}),
});

export const KINDS = [
  'succeeds',
  'fails',
  'fails once, then succeeds',
  'fails for good',
  'outlasts its lease',
  'reports it delivered',
  'reports it owed',
  'reports a failure delivered',
  'dies, then succeeds',
  'is slow to stop',
  'hangs',
  'fills a message',
  'is malformed',
  'is malformed, with a webhook',
  'is garbage',
  'is of no known type',
  'has an image that is not there',
  'has an image name that is none',
  'has a registry that is down',
  'finds no node',
  'has no quota',
  'is one of a type with a cap',
] as const;
export type Kind = (typeof KINDS)[number];

const MANIFEST_UNKNOWN = 'failed to pull: manifest unknown';

export const SCRIPTS: Readonly<Record<Kind, Script>> = {
  succeeds: run('completed', {}),
  fails: run('failed', { ends: [1] }, true),
  'fails once, then succeeds': run('completed', { ends: [1, 0] }),
  'fails for good': run('failed', { ends: [65] }),
  'outlasts its lease': run('completed', { runMs: 200_000, stopMs: 10_000 }),
  'reports it delivered': run('completed', { ends: [ends('completed', 'delivered')], runMs: 20_000 }, true),
  'reports it owed': run('completed', { ends: [ends('completed', 'owed')] }, true),
  'reports a failure delivered': run('failed', { ends: [ends('failed', 'delivered', 65)] }, true),
  'dies, then succeeds': run('completed', { ends: [137, ends('completed', 'owed')], runMs: 5000 }, true),
  'is slow to stop': run('completed', { runMs: 30_000, stopMs: 25_000 }),
  hangs: run('failed', { runMs: 10 ** 9 }, true),
  'fills a message': {
    fate: 'failed',
    webhook: false,
    message: (id) => {
      const text = JSON.stringify(task(id, { ends: [65] }, { filler: '' }));
      return text.replace('"filler":""', `"filler":"${'x'.repeat(65_536 - text.length)}"`);
    },
  },
  'is malformed': { fate: 'rejected', webhook: false, message: (id) => ({ ...task(id), task_type: 7 }) },
  'is malformed, with a webhook': {
    fate: 'rejected',
    webhook: true,
    message: (id) => ({ ...task(id, {}, hook), task_type: 7 }),
  },
  'is garbage': { fate: 'rejected', webhook: false, message: (id) => `garbage ${id}` },
  'is of no known type': { fate: 'rejected', webhook: false, message: (id) => ({ ...task(id), task_type: 'unknown' }) },
  'has an image that is not there': run(
    'failed',
    { stuck: { reason: 'ErrImagePull', message: MANIFEST_UNKNOWN } },
    true,
  ),
  'has an image name that is none': run('failed', { stuck: { reason: 'InvalidImageName', message: 'Not An Image' } }),
  'has a registry that is down': run('failed', {
    stuck: { reason: 'ImagePullBackOff', message: 'dial tcp: i/o timeout' },
  }),
  'finds no node': run('failed', { unschedulable: '0/3 nodes are available: 3 Insufficient cpu.' }, true),
  'is one of a type with a cap': {
    fate: 'completed',
    webhook: true,
    message: (id) => ({ ...task(id, { runMs: 20_000 }, hook), task_type: 'rare' }),
  },
  'has no quota': run('failed', { refused: 'exceeded quota: small, requested: pods=1' }, true),
};
