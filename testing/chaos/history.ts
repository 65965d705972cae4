/**
 * What is known of a chaos run when it is over, by those who stood beside the operator: the API server's audit log, the
 * queue service, the webhooks' receiver. All times are milliseconds since the epoch, by one clock.
 */
import type { Expected, TaskKind } from '#/testing/chaos/tasks.ts';

/** A message that was put. */
export interface PutMessage {
  readonly id: string;
  readonly messageId: string;
  readonly queue: string;
  readonly kind: TaskKind;
  readonly expected: Expected;
  /** Whether it asks for a webhook. */
  readonly webhook: boolean;
  readonly at: number;
}

/** A Job as it was after a write. */
export interface JobVersion {
  readonly uid: string;
  readonly name: string;
  /** Undefined on a Job that stands for no message. */
  readonly messageId: string | undefined;
  /** Of the whole store: writes are in this order. */
  readonly revision: number;
  /** When the write was asked for, and when it was answered. */
  readonly askedAt: number;
  readonly answeredAt: number;
  /** `create`, `update status`, `patch`, …; `found` for what the audit log does not have. */
  readonly write: string;
  readonly by: string;
  readonly createdAt: number;
  /** It is suspended, or may have no pod. */
  readonly heldBack: boolean;
  readonly end: 'completed' | 'failed' | undefined;
  /** By the Job's condition: whole seconds. */
  readonly endedAt: number | undefined;
  readonly settled: boolean;
  /** It is deleted with this write. */
  readonly gone: boolean;
}

/** Something that befell a pod. */
export interface PodStep {
  readonly pod: string;
  readonly jobUid: string;
  readonly step: 'created' | 'over';
  readonly at: number;
}

/** A webhook that arrived. */
export interface Delivery {
  /** Of the message, from the path. */
  readonly id: string;
  readonly webhookId: string;
  readonly status: string;
}

/** A poison copy at the end. */
export interface PoisonCopy {
  readonly queue: string;
  /** Undefined when it is no envelope. */
  readonly messageId: string | undefined;
}

/** What the queue service was asked for and did. `at`: when it was asked. */
export interface QueueCall {
  readonly kind: 'removed' | 'poisoned';
  readonly messageId: string;
  readonly at: number;
}

/** How many Jobs may run at once: of all, of a client, or of a task type. */
export interface Cap {
  readonly of: 'all' | 'client' | 'type';
  /** Of the client or the type; '' for all. */
  readonly name: string;
  readonly most: number;
}

/** What became of the container groups, as Azure's stand-in tells. A group has its Job's name. */
export interface Groups {
  /** How often one of a name was made, and its task begun. */
  readonly starts: Readonly<Record<string, number>>;
  /** Names of those that were asked for while one of the name was there. */
  readonly overwritten: readonly string[];
  /** Names of those that are there at the end. */
  readonly left: readonly string[];
}

/** Everything that is judged. */
export interface History {
  readonly puts: readonly PutMessage[];
  readonly jobs: readonly JobVersion[];
  readonly pods: readonly PodStep[];
  readonly deliveries: readonly Delivery[];
  readonly poison: readonly PoisonCopy[];
  readonly calls: readonly QueueCall[];
  /** What stands in each task queue at the end, invisible messages included. */
  readonly left: Readonly<Record<string, number>>;
  readonly caps: readonly Cap[];
  /** By how many more an overlap of two operators may exceed a cap; 0 where there is one operator. */
  readonly overlap: number;
  /** When whoever led was killed, or another took over: then two may overlap. */
  readonly changes: readonly number[];
  /** Where tasks run on Azure Container Instances. */
  readonly groups?: Groups | undefined;
}
