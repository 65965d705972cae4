/** A finished Job and its pods → how the task ended. Pure. */
import { z } from 'zod';
import { type Diagnosis, diagnose, HINTS } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { EXIT, parseReport, type RunnerReport } from '../../contract/runner-abi.ts';
import { iso } from '../../lib/clock.ts';
import { tryParseJson } from '../../lib/json.ts';
import type { JobEnd, JobRecord, PodRecord, TaskContainer } from './records.ts';
import { notedTrouble, startTrouble } from './start-trouble.ts';

type Terminated = Extract<TaskContainer, { kind: 'terminated' }>;

const outcomeSchema = z.object({
  status: z.enum(['completed', 'failed']),
  diagnosis: z.object({
    category: z.enum(Object.keys(HINTS) as (keyof typeof HINTS)[]),
    message: z.string(),
    hint: z.string(),
  }),
  attempts: z.array(
    z.object({ finishedAt: z.string().nullable(), exitCode: z.number().nullable(), reason: z.string() }),
  ),
  /** ISO 8601; null when no container of the task ever ran. */
  startedAt: z.string().nullable(),
  finishedAt: z.string(),
  /** Whether the operator has to send the webhook. */
  webhookDue: z.boolean(),
  result: z.unknown().optional(),
  resultUrl: z.string().optional(),
});

/** How a task ended. Stands on the Job as an annotation as soon as more than deleting its message is due. */
export type Outcome = z.infer<typeof outcomeSchema>;

/** The outcome of a finished Job: as annotated, or judged from its conditions and pods. */
export function outcomeOf(job: JobRecord, end: JobEnd, pods: readonly PodRecord[]): Outcome {
  return recordedOutcome(job) ?? judge(job, end, pods);
}

/** The outcome that stands on the Job; undefined when none does. */
export function recordedOutcome(job: JobRecord): Outcome | undefined {
  const text = job.annotations[ANNOTATION.outcome];
  if (text === undefined) return undefined;
  const parsed = outcomeSchema.safeParse(tryParseJson(text));
  return parsed.success ? parsed.data : undefined;
}

function judge(job: JobRecord, end: JobEnd, pods: readonly PodRecord[]): Outcome {
  const last = pods.at(-1);
  const ended = pods.flatMap((pod) => (pod.task?.kind === 'terminated' ? [pod.task] : []));
  const final = last?.task?.kind === 'terminated' ? last.task : undefined;
  const report = final === undefined ? undefined : parseReport(final.message);
  const status = end.kind === 'complete' ? 'completed' : 'failed';
  const starts = ended.flatMap((task) => (task.startedAt === undefined || task.startedAt <= 0 ? [] : [task.startedAt]));
  return {
    status,
    diagnosis:
      end.kind === 'complete' ? diagnose('Completed', 'the task completed') : failure(job, end, last, final, report),
    attempts: pods.slice(-20).map(attempt),
    startedAt: starts.length === 0 ? null : iso(Math.min(...starts)),
    finishedAt: iso(end.at),
    webhookDue: webhookDue(job, status, report),
    ...(status === 'completed' && report?.result !== undefined ? { result: report.result } : {}),
    ...(status === 'completed' && report?.resultUrl !== undefined ? { resultUrl: report.resultUrl } : {}),
  };
}

function attempt(pod: PodRecord): Outcome['attempts'][number] {
  const task = pod.task?.kind === 'terminated' ? pod.task : undefined;
  return {
    finishedAt: task?.finishedAt === undefined ? null : iso(task.finishedAt),
    exitCode: task?.exitCode ?? null,
    reason:
      pod.reason ||
      (pod.disrupted
        ? 'Disrupted'
        : task?.reason || (pod.task?.kind === 'waiting' ? pod.task.reason : '') || pod.phase),
  };
}

function failure(
  job: JobRecord,
  end: JobEnd,
  pod: PodRecord | undefined,
  task: Terminated | undefined,
  report: RunnerReport | undefined,
): Diagnosis {
  const neverRan = task === undefined || (task.startedAt ?? 0) <= 0;
  const killedByDeadline = pod?.reason === 'DeadlineExceeded' || end.reason === 'DeadlineExceeded';
  const trouble = pod === undefined ? undefined : startTrouble([pod]);
  if (trouble !== undefined) return trouble;
  const noted = neverRan && killedByDeadline ? notedTrouble(job) : undefined;
  if (noted !== undefined) return noted;
  if (report?.error?.code === 'TaskTimedOut') return diagnose('TaskTimedOut', report.error.message);
  if (pod?.reason === 'DeadlineExceeded')
    return diagnose(
      'TaskTimedOut',
      'the pod passed its deadline (start, task timeout and grace period together) and was killed',
    );
  if (pod?.reason === 'Evicted') return diagnose('Evicted', pod.message || 'the pod was evicted');
  if (report?.error !== undefined) return diagnose('TaskFailed', report.error.message);
  // A container that dies for memory within milliseconds of its start often has the reason Error, so the code decides too.
  if (task?.reason === 'OOMKilled' || task?.exitCode === 137)
    return diagnose(
      'OutOfMemory',
      `the container was killed (exit code ${task.exitCode}, ${task.reason || 'no reason given'})`,
    );
  if (task?.reason === 'StartError' || task?.reason === 'ContainerCannotRun')
    return diagnose('ContainerConfig', `the container could not start: ${task.message}`);
  if (task !== undefined) return diagnose('TaskFailed', exitText(task));
  if (end.reason === 'DeadlineExceeded') return diagnose('TaskTimedOut', `the Job passed its deadline: ${end.message}`);
  return diagnose('TaskFailed', `${end.reason}: ${end.message} (its pods are gone)`);
}

function exitText(task: Terminated): string {
  const meaning =
    task.exitCode === EXIT.badData
      ? ': bad data'
      : task.exitCode === EXIT.badConfig
        ? ': bad configuration'
        : task.exitCode === EXIT.temporary
          ? ': temporary failure'
          : '';
  return `the container ended with exit code ${task.exitCode}${meaning}`;
}

/** A runner's word is trusted only for the outcome that the Job in fact has. */
function webhookDue(job: JobRecord, status: Outcome['status'], report: RunnerReport | undefined): boolean {
  if (job.annotations[ANNOTATION.webhookUrl] === undefined) return false;
  switch (job.annotations[ANNOTATION.webhookMode]) {
    case 'none':
      return false;
    case 'exit-0':
      return status === 'failed';
    case 'runner':
      return !(report?.status === status && report.webhook === 'delivered');
    default:
      return true;
  }
}
