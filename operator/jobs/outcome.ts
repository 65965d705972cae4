/** A finished Job and its pods → how the task ended. Pure. */
import { z } from 'zod';
import type { CiResult } from '../../contract/ci-result.ts';
import { type Diagnosis, diagnose, HINTS } from '../../contract/diagnosis.ts';
import { ANNOTATION } from '../../contract/identity.ts';
import { EXIT, parseReport, type RunnerReport } from '../../contract/runner-abi.ts';
import { parseRate, type Usage, usageOf, usageSchema } from '../../contract/usage.ts';
import { fromIso, iso } from '../../lib/clock.ts';
import { tryParseJson } from '../../lib/json.ts';
import { type ContainerEnd, ciVerdict, resultWithoutPod, stageOf } from '../ci/verdict.ts';
import { cancellation, isBeingEnded, noteOn, usedAttempts } from './notes.ts';
import type { JobEnd, JobRecord, PodRecord, TaskContainer } from './records.ts';
import { speaksOfRights } from './rights.ts';
import { waitingTrouble } from './start-trouble.ts';

type Terminated = Extract<TaskContainer, { kind: 'terminated' }>;

const outcomeSchema = z.object({
  status: z.enum(['completed', 'failed', 'cancelled']),
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
  /** What all attempts that were seen have taken; of a Job of an earlier version nobody knows. */
  usage: usageSchema.optional(),
  /** The message was out of our hands while the Job lived: somebody else may have done the task too. */
  leaseLost: z.boolean().default(false),
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

/**
 * The outcome of a task whose Job was deleted, and whose pods have ended or are gone: that of the Job where it had finished, or of its pod
 * where that succeeded all the same; else it was cancelled.
 *
 * @param pods as they were last seen
 * @param deletedAt milliseconds since the epoch
 */
export function outcomeOfDeleted(job: JobRecord, pods: readonly PodRecord[], deletedAt: number): Outcome {
  const done = pods.find(({ phase }) => phase === 'Succeeded');
  const finishedAt = done?.task?.kind === 'terminated' ? done.task.finishedAt : undefined;
  const end =
    job.end ??
    (done === undefined ? undefined : { kind: 'complete', at: finishedAt ?? deletedAt, reason: '', message: '' });
  if (end !== undefined) return outcomeOf(job, end, pods);
  const diagnosis = cancellation(job) ?? diagnose('Cancelled', 'the task was cancelled: its Job was deleted');
  return outcomeAs(job, 'cancelled', diagnosis, deletedAt, pods);
}

function judge(job: JobRecord, end: JobEnd, pods: readonly PodRecord[]): Outcome {
  const image = job.annotations[ANNOTATION.ciImage];
  if (image !== undefined) return judgeCi(job, end, pods, image);
  const last = pods.at(-1);
  const final = last?.task?.kind === 'terminated' ? last.task : undefined;
  const report = final === undefined ? undefined : parseReport(final.message);
  const diagnosis =
    end.kind === 'complete' ? diagnose('Completed', 'the task completed') : failure(job, end, last, final, report);
  const status = end.kind === 'complete' ? 'completed' : diagnosis.category === 'Cancelled' ? 'cancelled' : 'failed';
  return outcomeAs(job, status, diagnosis, end.at, pods, report);
}

/** Reasons of a Job's end that its containers' exit codes led to. */
const BY_EXIT_CODES: readonly string[] = ['BackoffLimitExceeded', 'PodFailurePolicy'];

/** A CI task's containers tell more than its Job: failing tests made it Failed, and are what was asked for. */
function judgeCi(job: JobRecord, end: JobEnd, pods: readonly PodRecord[], image: string): Outcome {
  const last = decisivePod(end, pods);
  const task = last?.task?.kind === 'terminated' ? last.task : undefined;
  const isCutOff = (last?.reason ?? '') !== '' || wasDeleted(last, task);
  const verdict = ciVerdict({ ...last?.ci, ...(task === undefined ? {} : { task }) }, image, isCutOff);
  const isOfExitCodes = BY_EXIT_CODES.includes(end.reason) && !isCutOff;
  // The pod of tests that failed may be gone, and the rule by which they ended the Job stands.
  const isLost = last === undefined && (end.kind === 'complete' || end.reason === 'PodFailurePolicy');
  const result = isLost ? resultWithoutPod(image, end.kind === 'complete') : verdict.result;
  if (end.kind === 'complete' || isLost || (isOfExitCodes && verdict.kind === 'completed')) {
    const text = result.conclusion === 'success' ? 'the tests passed' : `the tests failed${exitOf(result)}`;
    return { ...outcomeAs(job, 'completed', diagnose('Completed', text), end.at, pods), result };
  }
  const removed = end.reason === 'BackoffLimitExceeded' ? noteOfRemoved(job, last) : undefined;
  const diagnosis =
    removed ?? (isOfExitCodes && verdict.kind === 'failed' ? verdict.diagnosis : cutOff(job, end, last, task));
  const status = diagnosis.category === 'Cancelled' ? 'cancelled' : 'failed';
  return { ...outcomeAs(job, status, diagnosis, end.at, pods), result };
}

/**
 * The pod that the Job's end rests on; undefined where that one is gone, though others may still be there: of two attempts the earlier one can
 * outlive the later.
 */
function decisivePod(end: JobEnd, pods: readonly PodRecord[]): PodRecord | undefined {
  if (end.kind === 'complete') return pods.findLast(({ phase }) => phase === 'Succeeded');
  if (end.reason === 'PodFailurePolicy')
    return pods.findLast(({ task, disrupted }) => !disrupted && task?.kind === 'terminated' && task.exitCode !== 0);
  return pods.at(-1);
}

/** Whether its tests ended because somebody deleted the pod. */
function wasDeleted(pod: PodRecord | undefined, task: Terminated | undefined): boolean {
  return pod?.deletedBy !== undefined && (task?.exitCode === 137 || task?.exitCode === 143);
}

function exitOf({ exit_code }: CiResult): string {
  return exit_code === undefined ? '' : ` (exit code ${exit_code})`;
}

/** Why the last attempt's pod was removed before it began; undefined where a later one has ended by itself. */
function noteOfRemoved(job: JobRecord, last: PodRecord | undefined): Diagnosis | undefined {
  const removedAt = usedAttempts(job).at(-1)?.finishedAt;
  const endedAt = last === undefined ? undefined : endsOf(last).at(-1)?.finishedAt;
  const isLater = removedAt !== undefined && (endedAt === undefined || (fromIso(removedAt) ?? 0) > endedAt);
  return isLater ? noteOn(job)?.diagnosis : undefined;
}

/** The end of a CI task that its containers did not bring about. */
function cutOff(job: JobRecord, end: JobEnd, pod: PodRecord | undefined, task: Terminated | undefined): Diagnosis {
  if (wasDeleted(pod, task) && end.reason !== 'DeadlineExceeded')
    return diagnose('TaskFailed', 'the pod was deleted while its tests ran, and not by Slipway');
  if (pod?.reason !== 'DeadlineExceeded') return failure(job, end, pod, task, undefined);
  const stage = stageOf(pod.ci ?? {});
  const [setting, limit] =
    stage === 'tests'
      ? ['timeoutSeconds', job.annotations[ANNOTATION.testTimeout]]
      : ['ci.builder.timeoutSeconds', job.annotations[ANNOTATION.buildTimeout]];
  return diagnose(
    'TaskTimedOut',
    `the ${stage} took longer than allowed (${setting}${limit === undefined ? '' : `: ${limit}`}), and the pod was killed`,
  );
}

function outcomeAs(
  job: JobRecord,
  status: Outcome['status'],
  diagnosis: Diagnosis,
  endedAt: number,
  pods: readonly PodRecord[],
  report?: RunnerReport,
): Outcome {
  const used = usedAttempts(job);
  const usage = usageOfPods(job, pods);
  const ended = pods.flatMap(endsOf);
  const starts = ended.flatMap(({ startedAt = 0 }) => (startedAt > 0 ? [startedAt] : []));
  return {
    status,
    diagnosis,
    attempts: [
      ...used.map(({ finishedAt, reason }) => ({ finishedAt, exitCode: null, reason })),
      ...pods.filter(({ name }) => !used.some(({ pod }) => pod === name)).map(attempt),
    ].slice(-20),
    startedAt: starts.length === 0 ? null : iso(Math.min(...starts)),
    finishedAt: iso(endedAt),
    webhookDue: webhookDue(job, status, report),
    ...(status === 'completed' && report?.result !== undefined ? { result: report.result } : {}),
    ...(status === 'completed' && report?.resultUrl !== undefined ? { resultUrl: report.resultUrl } : {}),
    ...(usage === undefined ? {} : { usage }),
    leaseLost: job.annotations[ANNOTATION.leaseLost] !== undefined,
  };
}

/** From the moment at which a pod has its node (of a CI task: its clone begins), or a container group is there, to the end of its task. */
function usageOfPods(job: JobRecord, pods: readonly PodRecord[]): Usage | undefined {
  const rate = parseRate(job.annotations[ANNOTATION.rate]);
  if (rate === undefined) return undefined;
  const ms = pods.map((pod) => {
    const ended = endsOf(pod);
    const began = pod.ci?.clone?.startedAt ?? pod.stageSince ?? ended[0]?.startedAt ?? 0;
    const finished = Math.max(0, ...ended.map(({ finishedAt = 0 }) => finishedAt));
    return began > 0 && finished > 0 ? Math.max(0, finished - began) : 0;
  });
  return usageOf(rate, ms.reduce((sum, one) => sum + one, 0) / 1000);
}

/** How the containers ended of which the task consists, those that have. */
function endsOf({ task, ci }: PodRecord): readonly ContainerEnd[] {
  const stages = [ci?.clone, ci?.build, task?.kind === 'terminated' ? task : undefined];
  return stages.filter((end) => end !== undefined);
}

function attempt(pod: PodRecord): Outcome['attempts'][number] {
  const last = endsOf(pod).at(-1);
  return {
    finishedAt: last?.finishedAt === undefined ? null : iso(last.finishedAt),
    exitCode: last?.exitCode ?? null,
    reason: pod.reason || (pod.disrupted ? 'Disrupted' : last?.reason || pod.waiting?.reason || pod.phase),
  };
}

function failure(
  job: JobRecord,
  end: JobEnd,
  pod: PodRecord | undefined,
  task: Terminated | undefined,
  report: RunnerReport | undefined,
): Diagnosis {
  const noted = noteOn(job)?.diagnosis;
  if (noted !== undefined && isBeingEnded(job) && end.reason === 'DeadlineExceeded') return noted;
  const trouble = pod === undefined ? undefined : waitingTrouble(pod)?.diagnosis;
  if (trouble !== undefined) return trouble;
  const wasRemoved = pod !== undefined && usedAttempts(job).some((one) => one.pod === pod.name);
  if (noted !== undefined && (wasRemoved || !(pod?.begun ?? false)) && !couldNotStart(task)) return noted;
  if (report?.error?.code === 'TaskTimedOut') return diagnose('TaskTimedOut', report.error.message);
  if (pod?.reason === 'DeadlineExceeded')
    return diagnose(
      'TaskTimedOut',
      'the pod passed its deadline (start, task timeout and grace period together) and was killed',
    );
  if (pod?.reason === 'Evicted') return diagnose('Evicted', pod.message || 'the pod was evicted');
  if (report?.error !== undefined)
    return diagnose('TaskFailed', withRights(job, report.error.message, report.error.message));
  if (end.reason === 'DeadlineExceeded' && task?.exitCode === 137 && task.reason !== 'OOMKilled')
    return diagnose('TaskTimedOut', `the Job passed its deadline: ${end.message}`);
  // A container that dies for memory within milliseconds of its start often has the reason Error, so the code decides too.
  if (task?.reason === 'OOMKilled' || task?.exitCode === 137)
    return diagnose(
      'OutOfMemory',
      `the container was killed (exit code ${task.exitCode}, ${task.reason || 'no reason given'})`,
    );
  if (task !== undefined && couldNotStart(task))
    return diagnose('ContainerConfig', withRights(job, `the container could not start: ${task.message}`, task.message));
  if (task !== undefined) return diagnose('TaskFailed', withRights(job, exitText(task), task.message));
  if (end.reason === 'DeadlineExceeded') return diagnose('TaskTimedOut', `the Job passed its deadline: ${end.message}`);
  return diagnose('TaskFailed', `${end.reason}: ${end.message} (its pods are gone)`);
}

function couldNotStart(task: Terminated | undefined): boolean {
  return task?.reason === 'StartError' || task?.reason === 'ContainerCannotRun';
}

/** Adds to a failure's text what would help, if the container's last words speak of a missing right; the words themselves are not repeated. */
function withRights(job: JobRecord, text: string, lastWords: string): string {
  if (job.annotations[ANNOTATION.security] !== 'restricted' || !speaksOfRights(lastWords)) return text;
  return `${text}; it was refused a right, so if its image must run as root or write to its root file system, set security: baseline in the task type`;
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
      return status !== 'completed';
    case 'runner':
      return !(report?.status === status && report.webhook === 'delivered');
    default:
      return true;
  }
}
