/**
 * What can go wrong with the operator's calls to its three servers, as tables that the type checker proves complete: each fault of each
 * step is either tried, or not possible for the reason given. tests/model/borders.test.ts holds the answers to the real clients.
 */
import { type ErrorKind, kindOfStatus, ServiceError } from '#/lib/errors.ts';
import type { JobPatch } from '#/operator/jobs/store.ts';
import { toServiceError } from '#/queue/errors.ts';
import type { DeliveryResult } from '#/webhook/delivery.ts';

/** Calls to the queue service. `release` is a renewal for no time, or for the five minutes of a message that is put back. */
export const QUEUE_STEPS = [
  'receive',
  'look',
  'list queues',
  'renew',
  'release',
  'remove',
  'put',
  'exists',
  'ensureQueue',
] as const;
export type QueueStep = (typeof QUEUE_STEPS)[number];

export const QUEUE_FAULTS = [
  '400 InvalidInput',
  '400 PopReceiptMismatch',
  '403 AuthenticationFailed',
  '404 QueueNotFound',
  '404 MessageNotFound',
  '409 QueueBeingDeleted',
  '413 RequestBodyTooLarge',
  '429',
  '500 InternalError',
  '503 ServerBusy',
  'hang',
  'reset',
  'lost reply',
  'late effect',
] as const;
export type QueueFault = (typeof QUEUE_FAULTS)[number];

/** Calls to the API server. A patch is known by what it writes. */
export const API_STEPS = [
  'create',
  'dryRun',
  'get',
  'patch receipt',
  'patch adopted',
  'patch start',
  'patch lease-lost',
  'patch trouble',
  'patch end',
  'patch outcome',
  'patch poisoned',
  'patch webhook',
  'patch close',
  'deletePod',
  'evictPod',
  'podRefusal',
  'isTerminating',
  'notify',
] as const;
export type ApiStep = (typeof API_STEPS)[number];

export const API_FAULTS = [
  '400 BadRequest',
  '401 Unauthorized',
  '403 Forbidden',
  '404 NotFound',
  '409 Conflict',
  '410 Expired',
  '422 Invalid',
  '429 TooManyRequests',
  '500 InternalError',
  '503 ServiceUnavailable',
  'hang',
  'reset',
  'lost reply',
  'late effect',
] as const;
export type ApiFault = (typeof API_FAULTS)[number];

/** Observing the Jobs. */
export const WATCH_STEPS = ['list', 'watch'] as const;
export type WatchStep = (typeof WATCH_STEPS)[number];

export const WATCH_FAULTS = [
  '403 Forbidden',
  '410 Expired',
  '429 TooManyRequests',
  '500 InternalError',
  '503 ServiceUnavailable',
  'hang',
  'reset',
  'old list',
  'event twice',
  'events reordered',
  'event missing',
] as const;
export type WatchFault = (typeof WATCH_FAULTS)[number];

export const WEBHOOK_STEPS = ['webhook'] as const;
export type WebhookStep = (typeof WEBHOOK_STEPS)[number];

export const WEBHOOK_FAULTS = [
  '302',
  '400',
  '401',
  '403',
  '404',
  '410',
  '413',
  '422',
  '429',
  '500',
  '503',
  'hang',
  'reset',
  'lost reply',
] as const;
export type WebhookFault = (typeof WEBHOOK_FAULTS)[number];

export type Step = QueueStep | ApiStep | WatchStep | WebhookStep;
export type Fault = QueueFault | ApiFault | WatchFault | WebhookFault;

/** All steps, server by server. */
export const STEPS: readonly Step[] = [...QUEUE_STEPS, ...API_STEPS, ...WATCH_STEPS, ...WEBHOOK_STEPS];

/** One fault of one step. */
export interface Cell {
  readonly step: Step;
  readonly fault: Fault;
}

/** `tried`, or why the server cannot answer this call so. */
type Tried = 'tried' | `not: ${string}`;
type Table<S extends string, F extends string> = Readonly<Record<S, Readonly<Record<F, Tried>>>>;

const NO_RECEIPT = 'not: the call names no receipt';
const NO_BODY = 'not: the call has no body';
const HARMLESS_READ = 'not: it changes nothing, so when it takes effect is all the same';

const anyQueueCall = {
  '400 InvalidInput': 'tried',
  '400 PopReceiptMismatch': NO_RECEIPT,
  '403 AuthenticationFailed': 'tried',
  '404 QueueNotFound': 'tried',
  '404 MessageNotFound': NO_RECEIPT,
  '409 QueueBeingDeleted': 'tried',
  '413 RequestBodyTooLarge': NO_BODY,
  '429': 'tried',
  '500 InternalError': 'tried',
  '503 ServerBusy': 'tried',
  hang: 'tried',
  reset: 'tried',
  'lost reply': 'tried',
  'late effect': 'tried',
} as const satisfies Readonly<Record<QueueFault, Tried>>;

const ofOneMessage = { ...anyQueueCall, '400 PopReceiptMismatch': 'tried', '404 MessageNotFound': 'tried' } as const;

export const QUEUE_TABLE: Table<QueueStep, QueueFault> = {
  receive: anyQueueCall,
  look: { ...anyQueueCall, 'lost reply': HARMLESS_READ, 'late effect': HARMLESS_READ },
  'list queues': {
    ...anyQueueCall,
    '404 QueueNotFound': 'not: the call names no queue',
    '409 QueueBeingDeleted': 'not: the call names no queue',
    'lost reply': HARMLESS_READ,
    'late effect': HARMLESS_READ,
  },
  renew: ofOneMessage,
  release: ofOneMessage,
  remove: ofOneMessage,
  put: { ...anyQueueCall, '413 RequestBodyTooLarge': 'tried' },
  exists: {
    ...anyQueueCall,
    '404 QueueNotFound': 'not: it is the answer "no", of which "404 QueueNotFound" of put tells',
    'lost reply': HARMLESS_READ,
    'late effect': HARMLESS_READ,
  },
  ensureQueue: { ...anyQueueCall, '404 QueueNotFound': 'not: it makes the queue' },
};

const anyApiCall = {
  '400 BadRequest': 'tried',
  '401 Unauthorized': 'tried',
  '403 Forbidden': 'tried',
  '404 NotFound': 'tried',
  '409 Conflict': 'tried',
  '410 Expired': 'not: only lists and watches ask for a version',
  '422 Invalid': 'tried',
  '429 TooManyRequests': 'tried',
  '500 InternalError': 'tried',
  '503 ServiceUnavailable': 'tried',
  hang: 'tried',
  reset: 'tried',
  'lost reply': 'tried',
  'late effect': 'tried',
} as const satisfies Readonly<Record<ApiFault, Tried>>;

const anyRead = {
  ...anyApiCall,
  '409 Conflict': 'not: a read conflicts with nothing',
  '422 Invalid': 'not: a read has no body that could be invalid',
  'lost reply': HARMLESS_READ,
  'late effect': HARMLESS_READ,
} as const;

export const API_TABLE: Table<ApiStep, ApiFault> = {
  create: anyApiCall,
  dryRun: { ...anyApiCall, 'lost reply': HARMLESS_READ, 'late effect': HARMLESS_READ },
  get: anyRead,
  'patch receipt': anyApiCall,
  'patch adopted': anyApiCall,
  'patch start': anyApiCall,
  'patch lease-lost': anyApiCall,
  'patch trouble': anyApiCall,
  'patch end': anyApiCall,
  'patch outcome': anyApiCall,
  'patch poisoned': anyApiCall,
  'patch webhook': anyApiCall,
  'patch close': anyApiCall,
  deletePod: anyApiCall,
  evictPod: anyApiCall,
  podRefusal: anyRead,
  isTerminating: anyRead,
  notify: anyApiCall,
};

const BY_WATCH = 'not: it comes by the watch';
const BY_LIST = 'not: it comes by the list';

export const WATCH_TABLE: Table<WatchStep, WatchFault> = {
  list: {
    '403 Forbidden': 'tried',
    '410 Expired': 'tried',
    '429 TooManyRequests': 'tried',
    '500 InternalError': 'tried',
    '503 ServiceUnavailable': 'tried',
    hang: 'tried',
    reset: 'tried',
    'old list': 'tried',
    'event twice': BY_WATCH,
    'events reordered': BY_WATCH,
    'event missing': BY_WATCH,
  },
  watch: {
    '403 Forbidden': 'tried',
    '410 Expired': 'tried',
    '429 TooManyRequests': 'tried',
    '500 InternalError': 'tried',
    '503 ServiceUnavailable': 'tried',
    hang: 'tried',
    reset: 'tried',
    'old list': BY_LIST,
    'event twice': 'tried',
    'events reordered': 'tried',
    'event missing': 'tried',
  },
};

export const WEBHOOK_TABLE: Table<WebhookStep, WebhookFault> = {
  webhook: {
    '302': 'tried',
    '400': 'tried',
    '401': 'tried',
    '403': 'tried',
    '404': 'tried',
    '410': 'tried',
    '413': 'tried',
    '422': 'tried',
    '429': 'tried',
    '500': 'tried',
    '503': 'tried',
    hang: 'tried',
    reset: 'tried',
    'lost reply': 'tried',
  },
};

const TABLES: Readonly<Record<string, Readonly<Record<string, Tried>>>> = {
  ...QUEUE_TABLE,
  ...API_TABLE,
  ...WATCH_TABLE,
  ...WEBHOOK_TABLE,
};

/** Every cell that is tried, step by step. */
export const CELLS: readonly Cell[] = Object.entries(TABLES).flatMap(([step, row]) =>
  Object.entries(row).flatMap(([fault, tried]) => (tried === 'tried' ? [{ step, fault } as Cell] : [])),
);

/** A cell as text: the key under which it is counted, and what a person reads. */
export function cellName({ step, fault }: Cell): string {
  return `${step}: ${fault}`;
}

/** The name of a patch, by what it writes. */
export function patchStep({ annotations = {}, activeDeadlineSeconds }: JobPatch): ApiStep {
  const writes = (key: string) => annotations[`slipway.dev/${key}`] !== undefined;
  if (writes('settled')) return 'patch close';
  if (annotations['slipway.dev/suspended-by'] === null) return 'patch start';
  if (activeDeadlineSeconds !== undefined) return 'patch end';
  if (writes('outcome')) return 'patch outcome';
  if (writes('poisoned')) return 'patch poisoned';
  if (writes('webhook-state')) return 'patch webhook';
  if (writes('dequeue-count')) return 'patch adopted';
  if (writes('pop-receipt')) return 'patch receipt';
  if (writes('lease-lost')) return 'patch lease-lost';
  return 'patch trouble';
}

/** How a call fares: answered with an error before it has an effect, or with its effect and an error, at once or later. */
export interface Failing {
  /** Whether the call takes effect: not at all, before the error, or a while after it. */
  readonly effect: 'none' | 'before' | 'later';
  /** Whether the error comes at once, or only when the caller's patience is over. */
  readonly when: 'at once' | 'after the deadline';
  readonly error: ServiceError;
}

/** What the operator is told by the queue service's client. */
export function queueFailing(step: QueueStep, fault: QueueFault): Failing {
  const told = (error: object) => toServiceError(error, step);
  switch (fault) {
    case 'hang':
      return { effect: 'none', when: 'after the deadline', error: told(aborted()) };
    case 'reset':
      return { effect: 'none', when: 'at once', error: told({ code: 'ECONNRESET' }) };
    case 'lost reply':
      return { effect: 'before', when: 'at once', error: told({ code: 'ECONNRESET' }) };
    case 'late effect':
      return { effect: 'later', when: 'at once', error: told({ code: 'ECONNRESET' }) };
    default: {
      const [status, code] = fault.split(' ');
      return {
        effect: 'none',
        when: 'at once',
        error: told({ statusCode: Number(status), ...(code === undefined ? {} : { code }) }),
      };
    }
  }
}

/** Seconds that a throttling API server asks for. */
export const RETRY_AFTER_S = 7;

/** What the operator is told by the API server's client. */
export function apiFailing(step: ApiStep | WatchStep, fault: ApiFault): Failing {
  const lost = new ServiceError('unknown', 'TypeError', `no answer to ${step}: read ECONNRESET`);
  switch (fault) {
    case 'hang':
      return {
        effect: 'none',
        when: 'after the deadline',
        error: new ServiceError('unknown', 'TimeoutError', `no answer to ${step}: the deadline has passed`),
      };
    case 'reset':
      return { effect: 'none', when: 'at once', error: lost };
    case 'lost reply':
      return { effect: 'before', when: 'at once', error: lost };
    case 'late effect':
      return { effect: 'later', when: 'at once', error: lost };
    default: {
      const [status = '', reason = ''] = fault.split(' ');
      const code = fault === '409 Conflict' && step === 'create' ? 'AlreadyExists' : reason;
      const retryAfterMs = fault === '429 TooManyRequests' ? RETRY_AFTER_S * 1000 : undefined;
      const kind: ErrorKind = fault === '410 Expired' ? 'conflict' : kindOfStatus(Number(status));
      return {
        effect: 'none',
        when: 'at once',
        error: new ServiceError(kind, code, `${step} was refused: ${reason}`, { retryAfterMs }),
      };
    }
  }
}

/** How a try to deliver a webhook ends, and whether the receiver has taken it nevertheless. */
export function webhookFailing(fault: WebhookFault): { readonly result: DeliveryResult; readonly taken: boolean } {
  const origin = 'https://backend.example';
  switch (fault) {
    case 'hang':
      return { result: { kind: 'retry', detail: `${origin}: no answer within 20000 ms` }, taken: false };
    case 'reset':
      return { result: { kind: 'retry', detail: `${origin}: socket hang up` }, taken: false };
    case 'lost reply':
      return { result: { kind: 'retry', detail: `${origin}: socket hang up` }, taken: true };
    case '400':
    case '410':
    case '413':
    case '422':
      return { result: { kind: 'refused', detail: `${origin} answered ${fault}` }, taken: false };
    case '429':
      return {
        result: { kind: 'retry', detail: `${origin} answered 429`, retryAfterMs: RETRY_AFTER_S * 1000 },
        taken: false,
      };
    default:
      return { result: { kind: 'retry', detail: `${origin} answered ${fault}` }, taken: false };
  }
}

/** What the SDK throws when the signal of a call aborts. */
function aborted(): Error {
  return new DOMException('The operation was aborted.', 'AbortError');
}
