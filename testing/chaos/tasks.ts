/** What the producers of a chaos run put: kinds of messages, and how each has to end. */
import { reportLine } from '#/contract/runner-abi.ts';
import { type Behaviour, ORDINARY } from '#/testing/arm/life.ts';
import type { Ending } from '#/testing/kwok.ts';
import { podStatus } from '#/testing/pod-status.ts';

/** How pods of the task types end. Nothing else sends their webhooks: all are owed by the operator. */
export const ENDINGS = {
  succeed: { as: 'completed-owed' },
  slow: { as: 'completed-owed', afterMs: 4_000 },
  long: { as: 'completed-owed', afterMs: 12_000 },
  fail: { as: 'failed' },
  'fail-late': { as: 'failed', afterMs: 5_000 },
} as const satisfies Record<string, Ending>;

const MALFORMED = ['no-json', 'no-id', 'unknown-type', 'number-id'] as const;

/** What a message is: a task of a type of this name, or malformed in some way. */
export type TaskKind = keyof typeof ENDINGS | (typeof MALFORMED)[number];

/** How a container group of a task type goes: it ends as the pod does, and says the same as its last line. */
export function groupBehaviour(type: string): Behaviour {
  const { as, afterMs = 0 }: Ending = ENDINGS[type as keyof typeof ENDINGS];
  const { containerStatuses } = podStatus(as) as unknown as PodEnd;
  const { exitCode, reason, message = '' } = containerStatuses[0].state.terminated;
  const life = { createsMs: 100, startsMs: 300, runsMs: 200 + afterMs };
  return { ...ORDINARY, ...life, exitCode, detail: reason, log: `at work\n${reportLine(message)}` };
}

interface PodEnd {
  readonly containerStatuses: readonly [{ readonly state: { readonly terminated: Terminated } }];
}
interface Terminated {
  readonly exitCode: number;
  readonly reason: string;
  readonly message?: string;
}

/** How a message has to end. A malformed one is reported as failed, and never has a Job. */
export type Expected = 'completed' | 'failed' | 'malformed';

/** Of a hundred messages, about how many are of each kind. */
export const SHARES: Readonly<Record<TaskKind, number>> = {
  succeed: 62,
  slow: 14,
  long: 3,
  fail: 10,
  'fail-late': 5,
  'no-json': 1,
  'no-id': 2,
  'unknown-type': 2,
  'number-id': 1,
};

/** How a message of a kind has to end. */
export function expectedOf(kind: TaskKind): Expected {
  if (isMalformed(kind)) return 'malformed';
  return kind.startsWith('fail') ? 'failed' : 'completed';
}

/** Whether a webhook's address can be read out of a message of a kind. */
export function tellsItsWebhook(kind: TaskKind): boolean {
  return kind !== 'no-json';
}

/** The text of a message. */
export function messageText(kind: TaskKind, id: string, webhookUrl: string | undefined): string {
  const rest = { payload: { chaos: id }, ...(webhookUrl && { webhook_url: webhookUrl }) };
  switch (kind) {
    case 'no-json':
      return `{"task_id": "${id}", "task_type": "succeed"`;
    case 'no-id':
      return JSON.stringify({ task_type: 'succeed', ...rest });
    case 'unknown-type':
      return JSON.stringify({ task_id: id, task_type: 'nobody-knows', ...rest });
    case 'number-id':
      return JSON.stringify({ task_id: 7, task_type: 'succeed', ...rest });
    default:
      return JSON.stringify({ task_id: id, task_type: kind, ...rest });
  }
}

function isMalformed(kind: TaskKind): boolean {
  return (MALFORMED as readonly TaskKind[]).includes(kind);
}
