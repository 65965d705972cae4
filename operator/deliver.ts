/** One received message on its way to a Job. */
import { ANNOTATION, jobName, LABEL } from '../contract/identity.ts';
import {
  type DecodedMessage,
  decodeMessage,
  type Problem,
  rawTaskId,
  rawTaskType,
  rawWebhookUrl,
  type Task,
  validateTask,
} from '../contract/message.ts';
import { backoff } from '../lib/backoff.ts';
import { isKind, messageOf, ServiceError } from '../lib/errors.ts';
import type { Lease } from '../queue/lease.ts';
import type { ReceivedMessage } from '../queue/service.ts';
import type { Slot } from './admission/slots.ts';
import type { Turns } from './admission/turns.ts';
import { buildOf } from './ci/build.ts';
import type { CiBuild } from './ci/payload.ts';
import { type Config, clientSettings, policyFor, policyOfClient, type Source, type TaskPolicy } from './config.ts';
import type { Gate } from './gate.ts';
import {
  deliveryAnnotations,
  jobDeadlineSeconds,
  type ManifestContext,
  manifest,
  type TaskInHand,
} from './jobs/manifest.ts';
import { hasEnded, type JobRecord } from './jobs/records.ts';
import type { JobStore } from './jobs/store.ts';
import type { JobsView } from './jobs/view.ts';
import { type Leases, leaseSeconds } from './leases.ts';
import { type Rejection, type RejectProgress, type RejectTools, reject } from './reject.ts';
import type { TaskTypes } from './task-types.ts';

/** What delivering works with. */
export interface DeliverTools extends RejectTools {
  readonly config: Config;
  readonly context: ManifestContext;
  readonly store: JobStore;
  readonly view: JobsView;
  readonly leases: Leases;
  readonly types: TaskTypes;
  readonly gate: Gate;
  readonly turns: Turns;
  /** Whether this process may begin anything. */
  readonly isLeading: () => boolean;
}

/**
 * A message received more often than this without becoming a Job may be what ends the operator, so it is handled alone; and an answer of
 * the API server that is final is final for it, not only for its type.
 */
const SUSPECT_DELIVERIES = 20;
/** One received more often than this is poisoned unhandled. */
const MAX_DELIVERIES = 25;
const GATE_NAP_MS = 100;
/** The deadline of a call to a server. */
const LONGEST_CALL_MS = 30_000;
/** A lease that reaches this near the deadline was made for it by an earlier try. */
const SHARED_SLACK_MS = 600_000;
/** Seconds for which a message that cannot be handled now is put back. */
const PUT_BACK_S = 300;

/** A delivery in hand. */
interface Delivery {
  readonly source: Source;
  readonly message: ReceivedMessage;
  readonly decoded: DecodedMessage;
  readonly name: string;
  readonly lease: Lease;
  readonly slot: Slot;
  /** What of a rejection was done, should it have to be tried again. */
  readonly rejected: RejectProgress;
}

/**
 * Brings a message to where it belongs: to its existing Job, to a new one, to the poison queue, or back into the queue. The slot is given
 * back. Ends early, with the message released, when `signal` aborts.
 *
 * @throws ServiceError when a call failed that the message's redelivery will repeat
 */
export async function deliver(
  tools: DeliverTools,
  source: Source,
  message: ReceivedMessage,
  slot: Slot,
  signal: AbortSignal,
): Promise<void> {
  const lease = tools.leases.received(source.queue, message);
  try {
    await tools.checkpoint('received', message.id);
    if (signal.aborted) {
      await lease.release(0);
      return;
    }
    const decoded = decodeMessage(message.text, source.encoding);
    if (decoded.kind === 'undecodable') {
      const { field, message: fault } = decoded.problem;
      await reject(
        tools,
        { ...rejection(source, message), encoding: 'unknown', category: 'Malformed', reason: `${field} ${fault}` },
        lease,
        signal,
      );
      return;
    }
    const name = jobName(
      { account: tools.config.storage.account, queue: source.queue, messageId: message.id },
      rawTaskType(decoded.value),
    );
    const delivery = { source, message, decoded, name, lease, slot, rejected: {} };
    using _asking = tools.gate.asking(delivery);
    await place(tools, delivery, signal);
  } finally {
    // By now a Job that came of it is in the view, and counts there.
    slot.free();
  }
}

/**
 * Finds or makes the message's Job. Nothing is judged while a Job of that name exists: a message whose task runs keeps running, whatever
 * the configuration says by now.
 */
async function place(tools: DeliverTools, delivery: Delivery, signal: AbortSignal): Promise<void> {
  const { name, lease } = delivery;
  let readDirectly = false;
  let mayHaveJob = false;
  for (let failures = 1; ; ) {
    let gateIsClosed = false;
    try {
      const existing = readDirectly ? (await tools.store.get(name, signal))?.record : tools.view.job(name);
      readDirectly = false;
      if (existing !== undefined && !existing.deleting) {
        if (await adopt(tools, delivery, existing, signal)) return;
      } else if (existing === undefined && tools.view.pods(name).every(hasEnded)) {
        // Another works now, and the message is for that one; hidden until its lease ends, where a create may take effect yet.
        if (!tools.isLeading()) return mayHaveJob ? undefined : await lease.release(0, signal);
        using passing = tools.gate.enter(delivery, delivery.message.dequeueCount > SUSPECT_DELIVERIES);
        if (passing !== undefined) return await judge(tools, delivery, signal);
        gateIsClosed = true;
      }
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      tools.metrics.deliveryErrors.inc({ queue: lease.queue, kind: error.kind });
      readDirectly = error.kind === 'conflict';
      // No answer, or the server's own word that it has timed out: a create may take effect yet.
      mayHaveJob ||= error.kind === 'unknown' || error.code === 'Timeout';
      if (readDirectly && failures++ === 1) continue;
      if (failures === 1 || failures % 10 === 0)
        tools.log.warn(
          { job: name, queue: lease.queue, failures, err: error },
          'could not place the message; it is kept and tried again',
        );
    }
    // A Job being deleted, or an answer that may change: the message stays ours meanwhile, so that its dequeue count stays meaningful.
    await tools.clock.sleep(gateIsClosed ? GATE_NAP_MS : backoff(failures++, 250, 15_000, tools.clock), signal);
    if (signal.aborted) return mayHaveJob ? undefined : lease.release(0);
    // The next try may take a call's whole deadline, in which nobody renews.
    const now = tools.clock.now();
    const isDue = lease.renewAt <= now || lease.state.until <= now + LONGEST_CALL_MS;
    if (isDue && !(await lease.renew(tools.config.file.lease.firstSeconds, signal))) return;
  }
}

/** Judges a message that has no Job, and starts it. */
async function judge(tools: DeliverTools, delivery: Delivery, signal: AbortSignal): Promise<void> {
  const { source, message, decoded, name, lease } = delivery;
  const refuse = async (rest: Pick<Rejection, 'category' | 'reason'> & Partial<Rejection>) => {
    // One that came before may have a Job that was not seen yet; then it is not to be judged.
    if (message.dequeueCount > 1 && (await tools.store.get(name, signal)) !== undefined)
      throw new ServiceError('conflict', 'AlreadyExists', `the Job ${name} is there, though it was not seen yet`);
    await reject(
      tools,
      {
        ...rejection(source, message),
        encoding: decoded.encoding,
        taskId: rawTaskId(decoded.value),
        taskType: rawTaskType(decoded.value),
        ...rest,
      },
      lease,
      signal,
      delivery.rejected,
    );
  };
  const { config } = tools;
  const client = clientSettings(config, source.client);
  const typePolicy = policyFor(config, rawTaskType(decoded.value));
  const policy = typePolicy && policyOfClient(typePolicy, client);
  if (policy !== undefined && tools.types.pausedBecause(policy.type) !== undefined)
    return lease.release(PUT_BACK_S, signal);
  if (message.dequeueCount > MAX_DELIVERIES) {
    return refuse({
      category: 'RedeliveredTooOften',
      reason: `message was received ${message.dequeueCount} times without becoming a Job`,
      webhookUrl: rawWebhookUrl(decoded.value),
    });
  }
  const verdict = validateTask(decoded);
  if (verdict.kind === 'invalid') {
    const reason = inWords(verdict.problems);
    return refuse({ category: 'Malformed', reason, taskId: verdict.taskId ?? '', webhookUrl: verdict.webhookUrl });
  }
  const { task } = verdict;
  if (policy === undefined) {
    return refuse({
      category: 'UnknownTaskType',
      reason: `task_type "${task.taskType}" is not configured`,
      webhookUrl: task.webhookUrl,
    });
  }
  const reading = buildOf(policy.ci, { name: source.client, settings: client }, task.payload, name);
  if (reading.kind === 'invalid')
    return refuse({ category: 'Malformed', reason: inWords(reading.problems), webhookUrl: task.webhookUrl });
  const isForeign = reading.kind === 'none' && !policy.image.startsWith(client?.imagePrefix ?? '');
  if (client?.imagePrefix !== undefined && isForeign) {
    await tellForeignImage(tools, source, policy, client.imagePrefix);
    return lease.release(PUT_BACK_S, signal);
  }
  const build = reading.kind === 'valid' ? reading.build : undefined;
  const refusal = await launch(tools, delivery, { ...task, build }, policy, signal);
  if (refusal === undefined) return;
  if (refusal.code === 'RequestEntityTooLarge' || message.dequeueCount > SUSPECT_DELIVERIES)
    return refuse({ category: 'InvalidSpec', reason: messageOf(refusal), webhookUrl: task.webhookUrl });
  tools.types.refuse(policy.type, messageOf(refusal));
  return lease.release(PUT_BACK_S, signal);
}

function inWords(problems: readonly Problem[]): string {
  return problems.map(({ field, message }) => `${field} ${message}`).join('; ');
}

/**
 * Makes the Job.
 *
 * @returns the API server's refusal, if it will never take this Job
 */
async function launch(
  tools: DeliverTools,
  delivery: Delivery,
  task: Task & { readonly build: CiBuild | undefined },
  policy: TaskPolicy,
  signal: AbortSignal,
): Promise<ServiceError | undefined> {
  const { source, message, decoded, name, lease, slot } = delivery;
  if (tools.config.file.lease.shared && !(await hideUntilDeadline(tools, lease, policy, signal))) return undefined;
  const inHand: TaskInHand = {
    account: tools.config.storage.account,
    queue: source.queue,
    client: source.client,
    message: { ...message, popReceipt: lease.state.popReceipt, leaseUntil: lease.state.until },
    taskId: task.taskId,
    taskType: task.taskType,
    taskData: decoded.text,
    encoding: decoded.encoding,
    webhookUrl: task.webhookUrl,
    held: slot.admit(policy.type) === 'hold',
    ...(task.build === undefined ? {} : { ci: task.build }),
  };
  using turn = await tools.turns.take(signal);
  if (turn === undefined)
    throw new ServiceError('unavailable', 'Stopped', 'the operator stops before the Job was made');
  slot.use(name);
  try {
    const job = await tools.store.create(manifest(inHand, policy, tools.context), signal);
    tools.leases.bind(name, lease);
    tools.view.learn(job);
  } catch (error) {
    if (!isKind(error, 'invalid')) throw error;
    return error;
  }
  await tools.checkpoint('created', name);
  tools.metrics.created.inc({ client: source.client, type: policy.type });
  if (message.dequeueCount === 1)
    tools.metrics.enqueueToJob.observe(
      { queue: source.queue },
      Math.max(0, tools.clock.now() - message.insertedOn) / 1000,
    );
  tools.log.info(
    { job: name, client: source.client, taskId: task.taskId, type: task.taskType, deliveries: message.dequeueCount },
    inHand.held === true ? 'the Job was created; it waits until its type has room' : 'the Job was created',
  );
  return undefined;
}

/** The settings contradict each other: that is mended there, and costs no message. */
async function tellForeignImage(
  { log, store, config }: DeliverTools,
  { queue, client }: Source,
  { type, image }: TaskPolicy,
  prefix: string,
): Promise<void> {
  const message = `Tasks of type ${type} of the client ${client} are put back: the image ${image} does not begin with the client's imagePrefix ${prefix}. Correct one of the two`;
  log.error({ queue, client, type, image, prefix }, message);
  if (config.podName === undefined) return;
  const about = { kind: 'Pod', name: config.podName } as const;
  await store.notify({ reason: 'ImageNotAllowed', message, type: 'Warning', about });
}

/**
 * Beside another consumer: hides the message for as long as its Job can take. Before the Job is made, since a crash right after would else
 * hand a running task to the other one.
 *
 * @returns false when the lease is lost
 */
async function hideUntilDeadline(
  tools: DeliverTools,
  lease: Lease,
  policy: TaskPolicy,
  signal: AbortSignal,
): Promise<boolean> {
  const until = tools.clock.now() + jobDeadlineSeconds(policy) * 1000;
  return lease.state.until >= until - SHARED_SLACK_MS || lease.renew(jobDeadlineSeconds(policy), signal);
}

/**
 * Gives a redelivered message to the Job that it became earlier.
 *
 * @returns false when the Job turned out to be gone
 */
async function adopt(tools: DeliverTools, delivery: Delivery, job: JobRecord, signal: AbortSignal): Promise<boolean> {
  const { message, source, lease } = delivery;
  if (!isOurs(tools, delivery, job)) {
    tools.log.error(
      { job: job.name, queue: source.queue, messageId: message.id },
      `a Job of this name belongs to somebody else; it is left alone, and the message is put back for ${PUT_BACK_S} s`,
    );
    await lease.release(PUT_BACK_S, signal);
    return true;
  }
  tools.metrics.adopted.inc({ queue: source.queue });
  if (job.settled) {
    await lease.remove(signal);
    tools.log.info({ job: job.name, queue: source.queue }, 'a message of a settled task came again and was deleted');
    return true;
  }
  if (tools.config.file.lease.shared && job.end === undefined)
    await lease.renew(leaseSeconds(job, tools.config.file.lease, tools.clock.now()), signal);
  try {
    const patched = await tools.store.patch(
      job.name,
      {
        annotations: {
          ...deliveryAnnotations(message),
          ...deliveryReceipt(lease),
          ...betweenTimes(tools, job, message),
        },
      },
      signal,
    );
    await tools.checkpoint('adopted', job.name);
    tools.leases.of(patched);
    tools.view.learn(patched);
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
    tools.view.observe({ kind: 'job-gone', job });
    return false;
  }
  tools.log.info(
    { job: job.name, queue: source.queue, deliveries: message.dequeueCount },
    'a redelivered message was given to its Job',
  );
  return true;
}

function deliveryReceipt(lease: Lease): Record<string, string> {
  return {
    [ANNOTATION.popReceipt]: lease.state.popReceipt,
    [ANNOTATION.leaseUntil]: new Date(lease.state.until).toISOString(),
  };
}

function isOurs(tools: DeliverTools, { source, message }: Delivery, job: JobRecord): boolean {
  const on = job.annotations;
  return (
    on[ANNOTATION.messageId] === message.id &&
    on[ANNOTATION.queue] === source.queue &&
    on[ANNOTATION.account] === tools.config.storage.account &&
    job.labels[LABEL.installation] === tools.context.installation
  );
}

function rejection(
  source: Source,
  message: ReceivedMessage,
): Pick<Rejection, 'queue' | 'client' | 'message' | 'taskId' | 'taskType' | 'webhookUrl'> {
  return { queue: source.queue, client: source.client, message, taskId: '', taskType: '', webhookUrl: undefined };
}

/** Receipts between the one on the Job and this one were somebody else's, or of an operator that died: the task may have been done twice. */
function betweenTimes(
  { clock }: DeliverTools,
  job: JobRecord,
  { dequeueCount }: ReceivedMessage,
): Record<string, string> {
  const on = job.annotations;
  const known = Number(on[ANNOTATION.dequeueCount] ?? dequeueCount);
  return dequeueCount > known + 1 && on[ANNOTATION.leaseLost] === undefined
    ? { [ANNOTATION.leaseLost]: new Date(clock.now()).toISOString() }
    : {};
}
