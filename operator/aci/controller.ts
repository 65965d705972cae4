/**
 * Runs Jobs on Azure Container Instances: what Kubernetes' Job controller, scheduler and kubelets do for others. It acts on
 * `spec.managedBy` alone and keeps everything it must remember on the Jobs. What is due is decided in decide.ts; here are the effects.
 */
import { diagnose } from '../../contract/diagnosis.ts';
import { TAG, TASK_CONTAINER } from '../../contract/identity.ts';
import { reportIn } from '../../contract/runner-abi.ts';
import type { Clock } from '../../lib/clock.ts';
import { isKind, messageOf, ServiceError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Checkpoint } from '../checkpoint.ts';
import { noteAnnotation } from '../jobs/notes.ts';
import type { JobRecord, JobStatus } from '../jobs/records.ts';
import type { JobStore } from '../jobs/store.ts';
import type { JobsView, Tombstone } from '../jobs/view.ts';
import type { Metrics } from '../metrics.ts';
import { WorkQueue } from '../work-queue.ts';
import {
  type Attempt,
  type AttemptEnd,
  asPod,
  attemptsAnnotation,
  attemptsOf,
  groupsAsPods,
  hasGroup,
  isOnAci,
  readAttempts,
  withAttempt,
} from './attempts.ts';
import { composeGroup } from './compose.ts';
import type { ContainerGroup } from './container-group.ts';
import { decideAci, PUT_HORIZON_MS, type Sight } from './decide.ts';
import type { ContainerGroups, GroupRecord } from './groups.ts';
import { pollMs, RateLimit, READ_RATES } from './rates.ts';
import type { ReadReference } from './references.ts';
import { keepSweeping } from './sweep.ts';
import type { AciTerms } from './terms.ts';
import { isRefusal, troubleOfPut } from './trouble.ts';
import { Turns } from './turns.ts';

/** What the controller works with. */
export interface AciControllerParts {
  readonly store: JobStore;
  readonly view: JobsView;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly checkpoint: Checkpoint;
  readonly isLeading: () => boolean;
  readonly installation: string;
  readonly namespace: string;
  /** As the configuration is now; undefined when it has no aci: then no group is made, and those that are there are followed. */
  readonly terms: () => AciTerms | undefined;
  /** The groups of a resource group, by its resource id. */
  readonly groupsIn: (resourceGroup: string) => ContainerGroups;
  readonly read: ReadReference;
  readonly beat: (loop: string) => void;
}

/** Jobs looked at side by side. */
const WORKERS = 16;
/** A claim is used at once or not at all: by another moment somebody else may think it is given up. */
const CLAIM_USABLE_MS = 10_000;
/** Milliseconds between two tries of a PUT that was refused. */
const REFUSED_AGAIN_MS = 30_000;
/** Milliseconds until a delete that has come to nothing is asked for again: it may fail in silence. */
const DELETE_AGAIN_MS = 60_000;
const LOOK_SOON_MS = 1000;
/** A Job that waits so long for its turn says so. */
const WAIT_UNTOLD_MS = 30_000;
/** So often in a row a Job may fail to be brought on until it says so. */
const UNTOLD_FAILURES = 5;
/** Last words are asked for so long. */
const HEAR_WITHIN_MS = 60_000;
const LINES = 60;
/** Characters that are kept of the words of a program that makes no report. */
const LONGEST_WORDS = 4000;
const LONGEST_S = 1e9;

/** An attempt that is claimed, and what is to be asked for. `begun`: monotonic, before it was written. */
interface Claim {
  readonly attempt: Attempt;
  readonly group: ContainerGroup;
  readonly written: JobRecord;
  readonly begun: number;
}

export class AciController {
  readonly #parts: AciControllerParts;
  readonly #work: WorkQueue;
  readonly #turns: Turns;
  /** Since when (monotonic) last words have been asked for in vain. */
  readonly #hearing = new Map<string, number>();
  /** Jobs that have a group, or may have one. */
  readonly #live = new Set<string>();
  readonly #reads = new RateLimit(READ_RATES);
  /** Deletes that were asked for: when, and how often. */
  readonly #removals = new Map<string, { at: number; times: number }>();

  constructor(parts: AciControllerParts) {
    const { clock, log, view } = parts;
    this.#parts = parts;
    this.#turns = new Turns({ clock, view, terms: parts.terms, groups: () => this.groups });
    this.#work = new WorkQueue(
      clock,
      (name, signal) => this.#look(name, signal),
      (name, error, failures) => {
        const line = { job: name, failures, err: error };
        if (failures <= 2) log.debug(line, 'will look at the container group again');
        else if (failures % 10 === 3) log.warn(line, 'the container group cannot be brought on; it is tried again');
        if (failures === UNTOLD_FAILURES) void this.#tellFailure(name, error);
      },
      parts.isLeading,
    );
    view.onChange((name) => this.wake(name));
  }

  /** Has the Job of that name looked at, if it is one of ours. */
  wake(name: string): void {
    const job = this.#parts.view.job(name) ?? this.#parts.view.tombstone(name)?.job;
    if (job === undefined || !isOnAci(job)) {
      this.#forget(name);
      return;
    }
    if (hasGroup(job)) this.#live.add(name);
    else this.#live.delete(name);
    this.#work.add(name);
  }

  /** This process leads now, or no longer: whoever leads meanwhile makes groups and deletes them, and it is the Jobs that tell. */
  leadershipChanged(): void {
    this.#turns.startOver();
    this.#removals.clear();
    for (const { name } of this.#parts.view.jobs()) this.wake(name);
  }

  /** Runs until `stopping` aborts; `abort` ends also what has begun. */
  async run(stopping: AbortSignal, abort: AbortSignal): Promise<void> {
    const { beat } = this.#parts;
    await Promise.all([
      this.#work.run(WORKERS, stopping, abort, () => beat('aci')),
      keepSweeping(
        {
          ...this.#parts,
          groupsIn: (place) => this.#parts.groupsIn(place),
          remove: (group, place, signal) => this.#remove({ name: group.name, uid: '' }, group, place, signal),
        },
        stopping,
      ),
    ]);
  }

  /** Groups that are there or may be, as the Jobs tell. */
  get groups(): number {
    return this.#live.size;
  }

  /** Jobs that wait for their turn. */
  get waiting(): number {
    return this.#turns.waiting;
  }

  #forget(name: string): void {
    this.#live.delete(name);
    this.#turns.forget(name);
    this.#hearing.delete(name);
    this.#removals.delete(name);
  }

  async #look(name: string, signal: AbortSignal): Promise<number | undefined> {
    const { view, clock, installation } = this.#parts;
    if (view.state.kind !== 'known') return LOOK_SOON_MS;
    const tombstone = view.tombstone(name);
    if (tombstone !== undefined) return this.#seeToDeleted(tombstone, signal);
    let job = view.job(name);
    if (job === undefined || !isOnAci(job)) return undefined;
    let sight: Sight = { kind: 'unread' };
    // What was seen holds until a call changes it; what is written down is decided on at once.
    for (;;) {
      const attempts = attemptsOf(job);
      const decision = decideAci({ job, attempts, sight, installation, now: clock.now() });
      switch (decision.kind) {
        case 'read':
        case 'start': {
          if (sight.kind !== 'unread' && decision.kind === 'start')
            return this.#start(job, attempts, decision.again, signal);
          const waitMs = decision.kind === 'start' ? await this.#awaitTurn(job, signal) : 0;
          const busyMs = this.#reads.waitMs(clock.monotonic());
          if (waitMs > 0 || busyMs > 0) return Math.max(waitMs, busyMs);
          sight = await this.#see(job, attempts.at(-1), signal);
          continue;
        }
        case 'rest':
          this.#turns.done(name);
          return decision.lookAgainMs;
        case 'poll':
          return Math.min(decision.atMostMs, pollMs(decision.sinceMs, this.groups, clock.random()));
        case 'write-status':
          job = await this.#writeStatus(job, decision.status, signal);
          continue;
        case 'note':
          job = await this.#note(job, attempts, decision.attempt, signal);
          continue;
        case 'hear':
          job = await this.#hear(job, attempts, decision.attempt, decision.end, signal);
          continue;
        case 'remove':
          return this.#remove(job, decision.group, attempts.at(-1)?.place, signal);
        case 'foreign':
          return this.#tellForeign(job, decision.group);
      }
    }
  }

  async #see(job: JobRecord, last: Attempt | undefined, signal: AbortSignal): Promise<Sight> {
    const groups = this.#groupsOf(last?.gone === true ? undefined : last?.place);
    this.#reads.take(this.#parts.clock.monotonic());
    const group = await groups?.get(job.name, signal);
    return group === undefined ? { kind: 'absent' } : { kind: 'there', group };
  }

  #groupsOf(place: string | undefined): ContainerGroups | undefined {
    const where = place ?? this.#parts.terms()?.resourceGroup;
    return where === undefined ? undefined : this.#parts.groupsIn(where);
  }

  async #writeStatus(job: JobRecord, status: JobStatus, signal: AbortSignal): Promise<JobRecord> {
    const { store, view, checkpoint } = this.#parts;
    const written = await store.patchStatus(job.name, status, job.resourceVersion, signal);
    view.learn(written);
    await checkpoint('status-written', job.name);
    return written;
  }

  async #note(job: JobRecord, attempts: readonly Attempt[], attempt: Attempt, signal: AbortSignal): Promise<JobRecord> {
    const { store, view, log } = this.#parts;
    const annotations = attemptsAnnotation(withAttempt(attempts, attempt));
    const written = await store.patch(job.name, { resourceVersion: job.resourceVersion, annotations }, signal);
    view.learn(written);
    const { n, end, gone } = attempt;
    if (gone === true) this.#removals.delete(job.name);
    log.debug({ job: job.name, attempt: n, end: end?.reason, gone: gone === true }, 'the attempt has moved on');
    return written;
  }

  /** Reads the last words while they can be read: a stopped group keeps little of them, a deleted one nothing. */
  async #hear(
    job: JobRecord,
    attempts: readonly Attempt[],
    attempt: Attempt,
    end: AttemptEnd,
    signal: AbortSignal,
  ): Promise<JobRecord> {
    const { log, clock } = this.#parts;
    const since = this.#hearing.get(job.name) ?? clock.monotonic();
    this.#hearing.set(job.name, since);
    let message = '';
    try {
      const printed = (await this.#groupsOf(attempt.place)?.tail(job.name, TASK_CONTAINER, LINES, signal)) ?? '';
      message = reportIn(printed) ?? (end.exitCode === 0 ? '' : printed.trim().slice(-LONGEST_WORDS));
    } catch (error) {
      // Tried for a while; then the operator reports by itself what is known without them.
      if (signal.aborted || clock.monotonic() - since < HEAR_WITHIN_MS) throw error;
      log.warn(
        { job: job.name, err: error },
        'what the task printed last cannot be read; it is judged by its exit code',
      );
    }
    const written = await this.#note(job, attempts, { ...attempt, end: { ...end, message } }, signal);
    this.#hearing.delete(job.name);
    await this.#parts.checkpoint('heard', job.name);
    return written;
  }

  /** Claims an attempt and asks for its group. Whoever wins the claim asks; nobody asks without one. */
  async #start(
    job: JobRecord,
    attempts: readonly Attempt[],
    again: Attempt | undefined,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { clock, checkpoint, isLeading, terms, groupsIn } = this.#parts;
    const now = terms();
    if (now === undefined || this.#turns.waitMs(job) > 0) return LOOK_SOON_MS;
    // Taken before anything is waited for: whoever looks at another Job meanwhile sees it.
    const giveBack = this.#turns.creates.take(clock.monotonic());
    this.#live.add(job.name);
    let claim: Claim | undefined;
    try {
      claim = await this.#claim(job, attempts, again, now, signal);
    } finally {
      if (claim === undefined) {
        giveBack();
        if (!hasGroup(this.#parts.view.job(job.name) ?? job)) this.#live.delete(job.name);
      }
    }
    if (claim === undefined) return REFUSED_AGAIN_MS;
    this.#turns.done(job.name);
    this.#removals.delete(job.name);
    await checkpoint('claimed', job.name);
    if (!isLeading() || clock.monotonic() - claim.begun > CLAIM_USABLE_MS) return PUT_HORIZON_MS;
    try {
      await groupsIn(now.resourceGroup).put(job.name, claim.group, signal);
    } catch (error) {
      return this.#seeRefusal(claim.written, claim.attempt, error, signal);
    }
    await checkpoint('put', job.name);
    return LOOK_SOON_MS;
  }

  /** Writes the claim. Undefined when there is nothing to ask for: what is missing is then noted. */
  async #claim(
    job: JobRecord,
    attempts: readonly Attempt[],
    again: Attempt | undefined,
    terms: AciTerms,
    signal: AbortSignal,
  ): Promise<Claim | undefined> {
    const { store, clock } = this.#parts;
    const full = await store.get(job.name, signal);
    if (full?.record.uid !== job.uid) return undefined;
    const { trouble: _, ...before } = again ?? {
      n: (attempts.at(-1)?.n ?? 0) + 1,
      claimedAt: clock.now(),
      deadlineSeconds: full.template.spec?.activeDeadlineSeconds ?? LONGEST_S,
    };
    const attempt: Attempt = { ...before, place: terms.resourceGroup };
    const made = await composeGroup(full, attempt.n, terms, this.#parts, signal);
    if ('trouble' in made) {
      this.#turns.refuse(job.name, REFUSED_AGAIN_MS);
      await this.#note(job, attempts, { ...attempt, trouble: made.trouble }, signal);
      return undefined;
    }
    const begun = clock.monotonic();
    const putAt = clock.now();
    const written = await this.#note(job, attempts, { ...attempt, putAt, lastPutAt: putAt }, signal);
    return { attempt: { ...attempt, lastPutAt: putAt }, group: made.group, written, begun };
  }

  /** Milliseconds that it waits for its turn; says so on the Job once that has lasted. */
  async #awaitTurn(job: JobRecord, signal: AbortSignal): Promise<number> {
    const { store, view, clock, terms, log } = this.#parts;
    const waitMs = Math.min(this.#turns.waitMs(job), 10_000);
    const waiting = this.#turns.waitingOf(job.name);
    if (waitMs === 0 || waiting === undefined || waiting.told || clock.monotonic() - waiting.since < WAIT_UNTOLD_MS)
      return waitMs;
    const limits = terms()?.limits;
    const text =
      limits === undefined
        ? 'the configuration has no aci any more, so no container group is made. Put it back, or cancel the task'
        : `the task waits for its turn: Azure makes at most ${limits.per5Minutes} container groups in 5 minutes and ${limits.perHour} in an hour, of which ${limits.groups} may be there at once`;
    const diagnosis = diagnose('QuotaExceeded', text);
    view.learn(await store.patch(job.name, { annotations: noteAnnotation(diagnosis, clock.now()) }, signal));
    waiting.told = true;
    log.info({ job: job.name, reason: text }, 'a task waits for its turn');
    return waitMs;
  }

  /** Says on the Job why it is not brought on, such as credentials that Azure does not take. A courtesy: the log has it too. */
  async #tellFailure(name: string, error: unknown): Promise<void> {
    const { store, view, clock, log } = this.#parts;
    const job = view.job(name);
    if (job === undefined || job.end !== undefined) return;
    const diagnosis = diagnose('BackendError', messageOf(error).slice(0, 1000));
    await store.notify({
      reason: 'BackendError',
      message: `The task's container group cannot be looked after: ${diagnosis.message}`,
      type: 'Warning',
      about: { kind: 'Job', name, uid: job.uid },
    });
    // A note is about a start.
    if (groupsAsPods(job).at(-1)?.begun === true) return;
    try {
      view.learn(await store.patch(name, { annotations: noteAnnotation(diagnosis, clock.now()) }));
    } catch (failure) {
      log.debug({ job: name, err: failure }, 'it could not be noted on the Job');
    }
  }

  /** A PUT that was refused is tried again later; of one without an answer nobody knows yet. */
  async #seeRefusal(job: JobRecord, claimed: Attempt, error: unknown, signal: AbortSignal): Promise<number> {
    const { log } = this.#parts;
    if (!(error instanceof ServiceError) || signal.aborted) throw error;
    log.warn({ job: job.name, attempt: claimed.n, code: error.code, err: error }, 'the container group was not made');
    if (!isRefusal(error)) return LOOK_SOON_MS;
    const waitMs = Math.max(error.retryAfterMs ?? 0, REFUSED_AGAIN_MS);
    this.#turns.refuse(job.name, waitMs);
    if (isKind(error, 'throttled')) this.#turns.close(waitMs);
    // A group in transition is one of ours that comes or goes: no trouble, and soon over.
    const trouble = error.code === 'ContainerGroupTransitioning' ? undefined : troubleOfPut(error);
    const { putAt: _, ...settled } = claimed;
    await this.#note(job, attemptsOf(job), { ...settled, ...(trouble === undefined ? {} : { trouble }) }, signal);
    return LOOK_SOON_MS;
  }

  /** Ends a group and has it deleted; returns milliseconds until it is looked for. That it is gone is seen, not believed. */
  async #remove(
    job: Pick<JobRecord, 'name' | 'uid'>,
    group: Pick<GroupRecord, 'name' | 'state'>,
    place: string | undefined,
    signal: AbortSignal,
  ): Promise<number> {
    const { clock, log, store, checkpoint } = this.#parts;
    const groups = this.#groupsOf(place);
    if (groups === undefined) return REFUSED_AGAIN_MS;
    const { name } = job;
    const before = this.#removals.get(name);
    const now = clock.monotonic();
    if (before !== undefined && now - before.at < DELETE_AGAIN_MS)
      return pollMs(now - before.at, this.groups, clock.random());
    const over = group.state === 'Succeeded' || group.state === 'Stopped';
    // Its end does not wait for a delete, of which there are not many an hour.
    if (!over)
      await groups.stop(name, signal).catch((error: unknown) => {
        if (signal.aborted) throw error;
        log.debug({ job: name, err: error }, 'the container group could not be stopped; it is deleted');
      });
    const { deletes } = this.#turns;
    const waitMs = deletes.waitMs(now);
    if (waitMs > 0) return Math.min(waitMs, 10_000);
    deletes.take(now);
    await groups.remove(name, signal).catch((error: unknown) => {
      if (!isKind(error, 'conflict')) throw error;
    });
    const times = (before?.times ?? 0) + 1;
    this.#removals.set(name, { at: now, times });
    await checkpoint('group-removed', name);
    if (times === 3) {
      const message = `The container group was to be deleted ${times} times and is still there: it costs, and may run. az container delete --name ${name} --resource-group ${place?.split('/').at(-1)} shows why`;
      log.error({ job: name }, message);
      await store.notify({
        reason: 'GroupStays',
        message,
        type: 'Warning',
        about: { kind: 'Job', name, uid: job.uid },
      });
    }
    return LOOK_SOON_MS;
  }

  /** The group of a Job that was deleted: ended, and reported gone, so that its message is dealt with. */
  async #seeToDeleted({ job }: Tombstone, signal: AbortSignal): Promise<number | undefined> {
    const { view, clock, log } = this.#parts;
    // Where its attempts cannot be read, its group is where groups are made now, if anywhere.
    const last = readAttempts(job)?.at(-1);
    const pod = groupsAsPods(job).at(-1);
    if (pod === undefined || last?.gone === true) return undefined;
    const groups = this.#groupsOf(last?.place);
    if (groups === undefined) return REFUSED_AGAIN_MS;
    const group = await groups.get(job.name, signal);
    if (group !== undefined && group.tags[TAG.jobUid] === job.uid) {
      // What has succeeded has, though nobody will write it on the Job any more.
      if (last !== undefined && last.end === undefined && group.task?.exitCode === 0) {
        const message = reportIn(await groups.tail(job.name, TASK_CONTAINER, LINES, signal)) ?? '';
        const finishedAt = group.task.finishedAt ?? clock.now();
        const end = { at: clock.now(), exitCode: 0, reason: 'Completed', message, counts: true };
        const startedAt = group.task.startedAt ?? null;
        view.observe({ kind: 'pod', pod: asPod(job, { ...last, end: { ...end, startedAt, finishedAt } }) });
      }
      return this.#remove(job, group, last?.place, signal);
    }
    if ((last?.putAt ?? 0) + PUT_HORIZON_MS > clock.now()) return 2 * LOOK_SOON_MS;
    log.info({ job: job.name }, 'the container group of a deleted Job is gone');
    view.observe({ kind: 'pod-gone', pod });
    return undefined;
  }

  async #tellForeign(job: JobRecord, group: GroupRecord): Promise<number> {
    const { store, log } = this.#parts;
    const message = `A container group named ${group.name} is there that is not of this installation (tag ${TAG.installation}: ${group.tags[TAG.installation] ?? 'none'}). The task waits until it is gone; set installation where two clusters share a resource group`;
    log.warn({ job: job.name }, message);
    await store.notify({
      reason: 'ForeignGroup',
      message,
      type: 'Warning',
      about: { kind: 'Job', name: job.name, uid: job.uid },
    });
    return 2 * REFUSED_AGAIN_MS;
  }
}
