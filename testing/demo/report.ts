/** What there is at the end: the Jobs, the webhooks, the poison queues. */
import { z } from 'zod';
import type { SentMessage } from '#/testing/demo/messages.ts';
import type { Observed, SeenJob, SeenWebhook } from '#/testing/demo/observed.ts';
import { type Cell, paint, shorten, tableOf } from '#/testing/demo/text.ts';

/**
 * The lines of the report.
 *
 * @param width of the terminal; without it nothing is cut off
 */
export function report(
  messages: readonly SentMessage[],
  seen: Observed,
  now: number,
  width: number | undefined,
): string[] {
  const table = (heading: readonly string[], rows: readonly (readonly Cell[])[]) => tableOf(heading, rows, width);
  const jobs = [...seen.jobs.values()].flat().sort((a, b) => (a.job.name < b.job.name ? -1 : 1));
  return [
    ...section('The Jobs, as kubectl get jobs shows them'),
    ...table(
      ['NAME', 'STATUS', 'COMPLETIONS', 'DURATION', 'AGE'],
      jobs.map((job) => jobRow(job, now)),
    ),
    ...section("The webhooks that the clients' backends received"),
    ...table(['CLIENT', 'TASK', 'STATUS', 'SIGNATURE', 'WHAT IT SAYS'], seen.webhooks.map(webhookRow)),
    ...section('The poison queues'),
    ...table(
      ['QUEUE', 'TASK', 'ATTEMPTS', 'REASON'],
      seen.poison.map((envelope): Cell[] => [
        `${envelope.queue}-poison`,
        messages.find(({ id }) => id === envelope.id)?.taskId ?? envelope.id,
        String(envelope.attempts.length),
        { text: shorten(envelope.reason, 100), tone: 'refused' },
      ]),
    ),
  ];
}

function section(title: string): string[] {
  return ['', paint(title, 'heading')];
}

function jobRow({ job }: SeenJob, now: number): Cell[] {
  const { end, startedAt, createdAt, name } = job;
  const status: Cell =
    end === undefined
      ? { text: 'Running', tone: 'busy' }
      : end.kind === 'complete'
        ? { text: 'Complete', tone: 'good' }
        : { text: 'Failed', tone: 'refused' };
  const completions = end?.kind === 'complete' ? '1/1' : '0/1';
  return [name, status, completions, seconds((end?.at ?? now) - (startedAt ?? now)), seconds(now - createdAt)];
}

function seconds(ms: number): string {
  return `${Math.max(0, Math.floor(ms / 1000))}s`;
}

function webhookRow({ client, body, signed }: SeenWebhook): Cell[] {
  const { task_id, status, error, result } = body;
  return [
    client,
    task_id,
    { text: status, tone: status === 'completed' ? 'good' : 'refused' },
    signed ? 'valid' : { text: 'WRONG', tone: 'bad' },
    shorten(error === undefined ? summary(result) : `${error.code}: ${error.message}`, 70),
  ];
}

const documentSchema = z.object({
  type: z.string(),
  pages: z.number().nullable(),
  characters: z.number(),
  resultUrl: z.string(),
});

function summary(result: unknown): string {
  const document = documentSchema.safeParse(result);
  if (!document.success) return JSON.stringify(result);
  const { type, pages, characters, resultUrl } = document.data;
  const length = pages === null ? '' : ` of ${pages} ${pages === 1 ? 'page' : 'pages'}`;
  return `${type}${length}, ${characters} characters; text in ${resultUrl.split('/').slice(-3).join('/')}`;
}
