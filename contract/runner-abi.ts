/** What the operator promises a task's container, and what the container may say when it ends. */
import { z } from 'zod';

/** Environment that every task container gets. A worker image that knows only TASK_DATA runs unchanged. */
export const RUNNER_ENV = {
  taskData: 'TASK_DATA',
  taskId: 'TASK_ID',
  taskType: 'TASK_TYPE',
  clientId: 'CLIENT_ID',
  /** Seconds. */
  taskTimeout: 'WORKER_TASK_TIMEOUT',
  maxAttempts: 'TASK_MAX_ATTEMPTS',
  /** The part of `webhook-id` that both senders share: `webhookId(this, status)`. */
  webhookId: 'SLIPWAY_WEBHOOK_ID',
  webhookFormat: 'SLIPWAY_WEBHOOK_FORMAT',
  webhookAllow: 'SLIPWAY_WEBHOOK_ALLOW',
  webhookSecret: 'SLIPWAY_WEBHOOK_SECRET',
  /** What a second of the task takes: JSON, see usage.ts. */
  rate: 'SLIPWAY_RATE',
} as const;

/** Exit codes with a meaning. Any other code is a failed attempt. */
export const EXIT = {
  done: 0,
  failed: 1,
  /** EX_DATAERR: bad data; no attempt can help. */
  badData: 65,
  /** EX_TEMPFAIL: counts as an attempt; only its diagnosis differs. */
  temporary: 75,
  /** EX_CONFIG: bad configuration; no attempt can help. */
  badConfig: 78,
  /** 128 + SIGTERM: stopped from outside before it was done; nothing was reported. */
  terminated: 143,
} as const;

/** Exit codes after which Kubernetes starts no further attempt. */
export const PERMANENT_EXITS: readonly number[] = [EXIT.badData, EXIT.badConfig];

/** Where Kubernetes reads a container's termination message. */
export const TERMINATION_LOG = '/dev/termination-log';
/** Names another file for it, where there is no container: a task that runs as a child process. */
export const TERMINATION_LOG_ENV = 'SLIPWAY_TERMINATION_LOG';
/** In place of a file: each report is a marked line of stdout, of which the last one counts. Azure Container Instances have no such file. */
export const REPORT_TO_STDOUT = '-';
const REPORT_MARK = 'slipway-report ';
/** Bytes; Kubernetes allows 4,096 per container and 12 KB for all containers of a pod. */
export const MAX_REPORT_BYTES = 3072;

const reportSchema = z.object({
  v: z.literal(1),
  status: z.enum(['completed', 'failed']),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  /** `owed`: due and not delivered (yet); `none`: not this container's to send. */
  webhook: z.enum(['delivered', 'owed', 'none']),
  result: z.unknown().optional(),
  resultUrl: z.string().optional(),
  /** The result did not fit and is not here. */
  truncated: z.boolean().optional(),
  metrics: z.record(z.string(), z.number()).optional(),
});

/** The termination message of container `task`. */
export type RunnerReport = z.infer<typeof reportSchema>;

/** Reads a termination message; undefined when it is none of ours (a foreign image, a crash, a text cut by the kubelet). */
export function parseReport(text: string): RunnerReport | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const parsed = reportSchema.safeParse(value);
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Writes a report in at most `MAX_REPORT_BYTES`: first the result goes (then `truncated` is set) and the metrics, then the error message is
 * cut, and a result's URL that still does not fit goes too. Status, error code and webhook state always survive.
 */
export function formatReport(report: RunnerReport): string {
  const { result, metrics: _metrics, ...rest } = report;
  const short = { ...rest, ...(result === undefined ? {} : { truncated: true }) };
  const cut =
    short.error === undefined
      ? short
      : { ...short, error: { code: cutText(short.error.code, 64), message: cutText(short.error.message, 400) } };
  for (const candidate of [report, short, cut]) {
    const text = JSON.stringify(candidate);
    if (Buffer.byteLength(text) <= MAX_REPORT_BYTES) return text;
  }
  // A character takes at most 6 bytes as a JSON escape, so without the URL it always fits.
  const { resultUrl: _resultUrl, ...least } = cut;
  return JSON.stringify({ ...least, truncated: true });
}

function cutText(text: string, length: number): string {
  return text.slice(0, length).toWellFormed();
}

/** A report as a line of stdout. A line of its own even where the task has left one open. */
export function reportLine(report: string): string {
  return `\n${REPORT_MARK}${report}\n`;
}

/** The last report in what a container printed; undefined when there is none. */
export function reportIn(log: string): string | undefined {
  const line = log.split('\n').findLast((one) => one.startsWith(REPORT_MARK));
  return line?.slice(REPORT_MARK.length).trimEnd();
}
