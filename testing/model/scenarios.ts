/** For each step a short play in which it is surely taken: for the matrix, and for the cell that each random play has to meet. */
import type { CheckpointName } from '#/operator/checkpoint.ts';
import type { Step } from './faults.ts';
import type { Command } from './play.ts';

const send = (...kinds: Extract<Command, { do: 'send' }>['kind'][]): readonly Command[] =>
  kinds.map((kind) => ({ do: 'send', kind }));
const times = <K extends string>(count: number, kind: K): K[] => Array<K>(count).fill(kind);
const pass = (seconds: number): Command => ({ do: 'pass', seconds });
const start: Command = { do: 'start operator' };

/** The operator dies, another consumer takes the message of the running task and dies too, and a new operator comes. */
const takenAway: readonly Command[] = [
  ...send('outlasts its lease'),
  start,
  pass(5),
  { do: 'kill operator', which: 0 },
  pass(60),
  { do: 'another consumer', leaseSeconds: 30, workSeconds: 30, finally: 'dies' },
  pass(20),
  start,
];
const thenFound: readonly Command[] = [...takenAway, pass(60)];
/** The second is held back until the first one has ended. */
const oneByOne: readonly Command[] = [...send(...times(2, 'is one of a type with a cap')), start, pass(90)];
const fails: readonly Command[] = [...send('fails for good', 'is malformed'), start, pass(60)];

export const SCENARIOS: Readonly<Record<Step, readonly Command[]>> = {
  receive: [...send('succeeds'), start, pass(30)],
  // With every slot taken, the other queue is only looked into.
  look: [...send(...times(4, 'outlasts its lease')), start, pass(60)],
  'list queues': [start, ...send('succeeds'), pass(60)],
  renew: [...send('outlasts its lease'), start, pass(120)],
  // Nobody sees the deletion.
  release: [
    ...send('outlasts its lease'),
    start,
    pass(5),
    { do: 'watches break' },
    { do: 'delete Job', which: -1 },
    pass(60),
  ],
  remove: [...send('succeeds', 'fails for good', 'is garbage'), start, pass(60)],
  put: fails,
  exists: [{ do: 'delete poison queue' }, ...fails],
  ensureQueue: [{ do: 'delete poison queue' }, ...fails],
  create: [...send('succeeds', 'fails once, then succeeds'), start, pass(60)],
  dryRun: [...send('succeeds'), start, pass(30)],
  get: [...send('fails for good', 'reports it owed'), start, pass(60)],
  'patch receipt': [...send('outlasts its lease'), start, pass(120)],
  'patch adopted': thenFound,
  'patch start': oneByOne,
  'patch lease-lost': thenFound,
  'patch trouble': [...send('has an image that is not there'), start, pass(100)],
  'patch end': [...send('has an image name that is none'), start, pass(60)],
  'patch outcome': [...send('fails', 'reports it owed'), start, pass(60)],
  'patch poisoned': [...send('fails for good'), start, pass(60)],
  'patch webhook': [
    { do: 'fault', cell: { step: 'webhook', fault: '503' }, times: 1 },
    ...send('reports it owed'),
    start,
    pass(60),
  ],
  'patch close': [...send('succeeds', 'fails for good'), start, pass(60)],
  deletePod: [...send('has an image that is not there'), start, pass(100)],
  evictPod: [...send('has a registry that is down'), start, pass(250)],
  podRefusal: [...send('has no quota'), start, pass(100)],
  isTerminating: [...send('hangs'), start, pass(5), { do: 'delete Job', which: -1 }, pass(200)],
  notify: [...send('fails for good'), start, pass(60)],
  list: [...send('succeeds'), start, pass(30)],
  watch: [...send('succeeds', 'fails once, then succeeds'), start, pass(60)],
  webhook: [...send('reports it owed', 'fails', 'is malformed, with a webhook'), start, pass(120)],
};

/** The operator that is started dies at the checkpoint, at its first passing; a new one comes when the play is over. */
const dieAt = (checkpoint: CheckpointName, sent: readonly Command[], seconds: number): readonly Command[] => [
  start,
  { do: 'kill operator after', checkpoint, which: 0 },
  ...sent,
  pass(seconds),
];

/** For each checkpoint a short play in which the operator surely dies there. */
export const CRASHES: Readonly<Record<CheckpointName, readonly Command[]>> = {
  received: dieAt('received', send('succeeds'), 30),
  created: dieAt('created', send('succeeds'), 30),
  started: dieAt('started', send(...times(2, 'is one of a type with a cap')), 90),
  adopted: [...takenAway, { do: 'kill operator after', checkpoint: 'adopted', which: 0 }, pass(60)],
  'receipt-patched': dieAt('receipt-patched', send('outlasts its lease'), 120),
  ended: dieAt('ended', send('has an image name that is none'), 60),
  'pod-removed': dieAt('pod-removed', send('has an image that is not there'), 120),
  recorded: dieAt('recorded', send('fails for good'), 60),
  poisoned: dieAt('poisoned', send('fails for good'), 60),
  deleted: dieAt('deleted', send('fails for good'), 60),
  'webhook-sent': dieAt('webhook-sent', send('reports it owed'), 60),
  settled: dieAt('settled', send('succeeds'), 60),
};
