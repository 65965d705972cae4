/** Tells how a task ended: by the termination message, and by webhook when it is the runner's to send. */
import { diagnose } from '../contract/diagnosis.ts';
import { formatReport, PERMANENT_EXITS, parseReport, type RunnerReport } from '../contract/runner-abi.ts';
import { type Rate, usageOf } from '../contract/usage.ts';
import {
  formatWebhook,
  MAX_RESULT_BYTES,
  type WebhookBody,
  type WebhookFormat,
  webhookId,
} from '../contract/webhook.ts';
import { type Clock, iso } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Secret } from '../lib/secret.ts';
import type { Execution, Failure } from './execute.ts';

/** An end that is told; a task that was stopped from outside is not. */
type Ending = Exclude<Execution, { kind: 'terminated' }>;

/** A task that has ended. */
export interface EndedTask {
  readonly taskId: string;
  readonly taskType: string;
  readonly clientId: string;
  readonly webhookUrl: string | undefined;
  readonly ending: Ending;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly rate?: Rate | undefined;
  /** Of the handler's making, and the process's. */
  readonly metrics?: Readonly<Record<string, number>>;
}

/** What sending a webhook needs. */
export interface WebhookTools {
  readonly webhook: {
    /** The part of `webhook-id` before the status. */
    readonly idBase: string;
    readonly format: WebhookFormat;
    readonly allow: readonly string[];
    readonly secrets: readonly Secret[];
  };
  /** Keeps a result that does not fit into the report and gives its URL; undefined when there is no place for it. */
  readonly keepResult: (result: unknown, signal: AbortSignal) => Promise<string | undefined>;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborts on SIGTERM: a report that is being made is then ended soon, not cut off. */
  readonly stopping: AbortSignal;
}

/** What reporting needs. */
export interface ReportTools extends WebhookTools {
  readonly maxAttempts: number;
  readonly writeReport: (report: RunnerReport) => void;
}

/** What became of a webhook. `refused`: no other try can change it. */
export type Sent = 'delivered' | 'refused' | 'owed';

/** Waits before the tries; what is still owed then is the operator's. */
const TRIES_AFTER_MS: readonly number[] = [0, 1000, 5000];
const TRY_MS = 15_000;
/** All of reporting; less than the default grace period (30 s), which is what is left after a task timeout. */
const BUDGET_MS = 25_000;
/** What is left of it after SIGTERM. */
const HURRY_MS = 3000;

/**
 * Reports. Never throws: a report that fails leaves the webhook owed, and the operator sends it.
 *
 * The termination message says `owed` before the webhook is sent and `delivered` after: a crash between the two repeats a webhook with the
 * same id, and loses none.
 */
export async function report(task: EndedTask, tools: ReportTools): Promise<void> {
  using over = new DisposableStack();
  const budget = budgetOf(tools, over);
  const sends = isOurs(task, tools.maxAttempts);
  const owed = await withResult(runnerReport(task, sends ? 'owed' : 'none'), tools, budget);
  tools.writeReport(owed);
  if (sends && (await send(task, owed.resultUrl, tools, budget)) === 'delivered')
    tools.writeReport({ ...owed, webhook: 'delivered' });
}

/** Sends the webhook of a task that has no other report, a few times. Never throws. */
export async function sendWebhook(task: EndedTask, tools: WebhookTools): Promise<Sent> {
  using over = new DisposableStack();
  const budget = budgetOf(tools, over);
  // Awaited here: the budget ends with this function.
  return await send(task, await urlOfLarge(task, tools, budget), tools, budget);
}

/** The place of a result that no webhook may carry. */
async function urlOfLarge(
  { ending }: EndedTask,
  tools: WebhookTools,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (ending.kind === 'failed' || ending.result === undefined) return undefined;
  if (Buffer.byteLength(JSON.stringify(ending.result)) <= MAX_RESULT_BYTES) return undefined;
  try {
    return await tools.keepResult(ending.result, signal);
  } catch (error) {
    tools.log.warn({ err: error }, 'the result is too large for a webhook and could not be stored');
    return undefined;
  }
}

/**
 * Whether the webhook is the runner's to send: of a success, of a failure that no attempt can mend, and of any failure when this attempt
 * was the only one. Of other failures only the operator knows whether an attempt is left.
 */
export function isOurs({ ending, webhookUrl }: Pick<EndedTask, 'ending' | 'webhookUrl'>, maxAttempts: number): boolean {
  if (webhookUrl === undefined) return false;
  return ending.kind === 'completed' || PERMANENT_EXITS.includes(ending.exit) || maxAttempts === 1;
}

function runnerReport(
  { ending, startedAt, finishedAt, metrics: more }: EndedTask,
  webhook: RunnerReport['webhook'],
): RunnerReport {
  const metrics = { durationMs: Math.max(0, Math.round(finishedAt - startedAt)), ...more };
  if (ending.kind === 'failed') {
    return { v: 1, status: 'failed', error: { code: ending.code, message: ending.message }, webhook, metrics };
  }
  return { v: 1, status: 'completed', webhook, result: ending.result, metrics };
}

async function withResult(whole: RunnerReport, tools: ReportTools, signal: AbortSignal): Promise<RunnerReport> {
  if (parseReport(formatReport(whole))?.truncated !== true) return whole;
  try {
    const resultUrl = await tools.keepResult(whole.result, signal);
    if (resultUrl !== undefined) return { ...whole, resultUrl };
    tools.log.warn(
      {},
      'the result is too large for the termination message, and no storage account is configured to keep it',
    );
  } catch (error) {
    tools.log.warn({ err: error }, 'the result is too large for the termination message and could not be stored');
  }
  return whole;
}

async function send(
  task: EndedTask,
  resultUrl: string | undefined,
  tools: WebhookTools,
  budget: AbortSignal,
): Promise<Sent> {
  const { clock, log, stopping, webhook } = tools;
  const body = webhookBody(task, resultUrl);
  const request = {
    url: task.webhookUrl ?? '',
    id: webhookId(webhook.idBase, body.status),
    body: formatWebhook(body, webhook.format),
    secrets: webhook.secrets,
    allow: webhook.allow,
    timeoutMs: TRY_MS,
  };
  // Loaded now: node:http alone costs more than all else that a task without a webhook needs.
  const { deliver } = await import('../webhook/delivery.ts');
  let notBeforeMs = 0;
  for (const [index, delayMs] of TRIES_AFTER_MS.entries()) {
    if (index > 0) await clock.sleep(Math.max(delayMs, notBeforeMs), AbortSignal.any([budget, stopping]));
    if (index > 0 && (budget.aborted || stopping.aborted)) break;
    const result = await deliver(request, clock, budget);
    if (result.kind === 'delivered') {
      log.info({ status: result.status }, 'webhook delivered');
      return 'delivered';
    }
    log.warn({ attempt: index + 1, reason: result.detail }, 'webhook not delivered');
    if (result.kind === 'refused') return 'refused';
    notBeforeMs = result.retryAfterMs ?? 0;
  }
  log.warn({}, 'the webhook stays owed');
  return 'owed';
}

function webhookBody(task: EndedTask, resultUrl: string | undefined): WebhookBody {
  const { ending, startedAt, finishedAt, rate } = task;
  return {
    task_id: task.taskId,
    task_type: task.taskType,
    client_id: task.clientId,
    status: ending.kind,
    ...(ending.kind === 'failed' ? { error: errorOf(ending) } : resultOf(ending.result, resultUrl)),
    started_at: iso(startedAt),
    finished_at: iso(finishedAt),
    duration_ms: Math.max(0, Math.round(finishedAt - startedAt)),
    // Of this attempt, from the runner's own start: what its container took to start only the operator knows.
    ...(rate === undefined ? {} : { usage: usageOf(rate, Math.max(0, finishedAt - startedAt) / 1000) }),
  };
}

/** The same as the operator sends, should it have to: beyond a size the result's place, where it has one. */
function resultOf(result: unknown, resultUrl: string | undefined): Pick<WebhookBody, 'result' | 'result_url'> {
  if (result === undefined) return {};
  const isTooLarge = resultUrl !== undefined && Buffer.byteLength(JSON.stringify(result)) > MAX_RESULT_BYTES;
  return isTooLarge ? { result_url: resultUrl } : { result };
}

function errorOf(ending: Failure): NonNullable<WebhookBody['error']> {
  const { category, message, hint } = diagnose(ending.code, ending.message);
  return { code: category, message, hint };
}

function budgetOf({ clock, stopping, log }: WebhookTools, over: DisposableStack): AbortSignal {
  const hurry = over.adopt(new AbortController(), (controller) => controller.abort());
  const onStop = () =>
    clock
      .sleep(HURRY_MS, hurry.signal)
      .then(() => hurry.abort())
      .catch((error: unknown) => log.warn({ reason: messageOf(error) }, 'the report was not hurried'));
  stopping.addEventListener('abort', onStop, { once: true, signal: hurry.signal });
  return clock.deadline(BUDGET_MS, hurry.signal);
}
