/** What `slipway why` does. */
import { EXIT } from '../contract/runner-abi.ts';
import { ServiceError } from '../lib/errors.ts';
import type { QueueService } from '../queue/service.ts';
import { borrowAll } from './borrow.ts';
import { type Cluster, inWords } from './cluster.ts';
import { findTasks } from './jobs.ts';
import { isPoisonQueue } from './names.ts';
import { INTERRUPTED, type Output, seconds } from './output.ts';
import { paint } from './paint.ts';
import { groupCopies, type PoisonedTask, summaryOf } from './poisoned.ts';
import { resultFacts } from './result-facts.ts';
import { type Story, storyOf } from './story.ts';
import { taskJson } from './task-state.ts';
import { taskLines } from './task-table.ts';
import { printable } from './text.ts';
import { wrapped } from './wrap.ts';

/**
 * Tells one task's story; returns the exit code.
 *
 * @param service the storage account, where one is named: the poison queues are looked into for a task without a Job
 */
export async function tellWhy(
  cluster: Cluster,
  output: Output,
  name: string,
  json: boolean,
  service: () => QueueService | undefined,
): Promise<number> {
  const found = await findTasks(cluster, output.clock, output.stopping, name);
  if (output.stopping.aborted) return INTERRUPTED;
  const [task] = found;
  if (task === undefined) return tellAbsence(cluster, output, name, json, service());
  if (found.length > 1) {
    output.err(`slipway: ${found.length} Jobs fit ${printable(name)}. Name one of them\n`);
    if (json) output.out(`${JSON.stringify({ job: null, candidates: found.map(taskJson) }, null, 2)}\n`);
    else output.out(`${taskLines(found, output.clock.now(), undefined).join('\n')}\n`);
    return EXIT.failed;
  }
  const story = storyOf(task, cluster.namespace, output.clock.now());
  output.out(json ? `${JSON.stringify(story, null, 2)}\n` : `${lines(story, output).join('\n')}\n`);
  return EXIT.done;
}

function lines(story: Story, output: Output): string[] {
  const { diagnosis, webhook } = story;
  // Of a Job whose pods were taken away nobody knows any more how far it had come.
  const attempts = story.settled && story.attempt === 0 ? '' : `, attempt ${story.attempt} of ${story.attempts}`;
  const facts: (readonly [name: string, value: string])[] = [
    ['Task', `${story.task || '-'} of client ${story.client || '-'}, type ${story.type || '-'}`],
    ['Job', `${story.job} in namespace ${story.namespace}`],
    ['State', `${story.state}${attempts}`],
    ...(diagnosis === null
      ? []
      : ([
          ['Why', `${diagnosis.category}: ${diagnosis.message}`],
          ['Hint', diagnosis.hint.replace('-n NAMESPACE job/NAME', `-n ${story.namespace} job/${story.job}`)],
        ] as const)),
    ...(story.result === null ? [] : resultFacts(story.result)),
    ...(story.waitsFor === null ? [] : [['Waits for', story.waitsFor] as const]),
    ['Webhook', webhook.text],
    ['Lease', story.lease.text],
  ];
  return [
    ...facts.map(([name, value]) =>
      wrapped(
        paint(
          output.colour,
          name === 'Why' ? ['bold', 'red'] : 'bold',
          (name === '' ? '' : `${name}:`).padEnd(FACT_WIDTH),
        ),
        value,
        output.columns,
        FACT_WIDTH,
      ),
    ),
    '',
    paint(output.colour, 'bold', `${'TIME'.padEnd(TIME_WIDTH)}WHAT HAPPENED`),
    ...story.events.map(({ at, what }) =>
      wrapped((at === null ? '' : seconds(at)).padEnd(TIME_WIDTH), what, output.columns),
    ),
  ];
}

const FACT_WIDTH = 11;
const TIME_WIDTH = 22;

async function tellAbsence(
  cluster: Cluster,
  output: Output,
  name: string,
  json: boolean,
  service: QueueService | undefined,
): Promise<number> {
  const poisoned = service === undefined ? undefined : await lookAmongPoisoned(service, output, name);
  if (output.stopping.aborted) return INTERRUPTED;
  if (json) {
    const tasks = poisoned?.map(summaryOf) ?? null;
    output.out(`${JSON.stringify({ job: null, namespace: cluster.namespace, poisoned: tasks }, null, 2)}\n`);
    return EXIT.failed;
  }
  output.err(`slipway: no Job in ${inWords(cluster)} is of a task, or message, ${printable(name)}\n`);
  for (const { id, queue, reason, poisonedOn } of (poisoned ?? []).map(summaryOf)) {
    const why = printable(reason ?? 'why, its copy does not say');
    output.out(`It is poisoned in ${queue} since ${seconds(poisonedOn)}: ${why}\n`);
    output.out(`  slipway poison show ${queue} ${printable(id)}\n`);
  }
  if ((poisoned ?? []).length > 0) return EXIT.failed;
  const meanings = [...MEANINGS, ...(poisoned === undefined ? [POISONED] : []), ELSEWHERE];
  output.out(`${meanings.map((line) => wrapped('- ', line, output.columns)).join('\n')}\n`);
  if (poisoned === undefined)
    output.out('With AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_SAS_URL set, this command looks for it there.\n');
  else output.out('The poison queues do not have it.\n');
  return EXIT.failed;
}

const MEANINGS = [
  'It is still in its queue: all slots are taken, its type is paused, receiving is off, its queue is not among those received from, or no operator runs: slipway doctor, and the operator’s /readyz.',
  'It was settled longer ago than its record is kept (config.ttl: 1 hour for completed tasks, 24 for failed and cancelled ones).',
  'Somebody deleted its Job, which cancelled it.',
];
const POISONED = 'It failed, and is among the poisoned: slipway poison list';
const ELSEWHERE = 'It is in another namespace, such as that of CI types: -n NAMESPACE, or several after commas.';

/** The poisoned tasks of that id; what cannot be read is told, and left out. */
async function lookAmongPoisoned(
  service: QueueService,
  output: Output,
  name: string,
): Promise<readonly PoisonedTask[] | undefined> {
  const found: PoisonedTask[] = [];
  try {
    for (const queue of (await service.list()).filter(isPoisonQueue)) {
      await using borrowed = await borrowAll(service, output.clock, queue, output.stopping, (sentence) =>
        output.err(`slipway: ${sentence}\n`),
      );
      found.push(...groupCopies(queue, borrowed.messages).filter(({ id, taskId }) => id === name || taskId === name));
    }
    return found;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    output.err(`slipway: the poison queues were not looked into to their end: ${error.message}\n`);
    return found.length > 0 ? found : undefined;
  }
}
