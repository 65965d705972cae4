/** What can be seen of the messages from outside: their Jobs, the webhooks, the poison queues, what is left in the queues. */
import { QueueServiceClient } from '@azure/storage-queue';
import { Webhook } from 'standardwebhooks';
import { ANNOTATION } from '#/contract/identity.ts';
import { type PoisonEnvelope, parseEnvelope } from '#/contract/poison.ts';
import { type WebhookBody, webhookBodySchema } from '#/contract/webhook.ts';
import type { JobRecord, PodRecord } from '#/operator/jobs/records.ts';
import type { JobStore } from '#/operator/jobs/store.ts';
import { clients } from '#/testing/demo/messages.ts';
import type { World } from '#/testing/demo/world.ts';

/** A Job with all its pods, oldest first. */
export interface SeenJob {
  readonly job: JobRecord;
  readonly pods: readonly PodRecord[];
}

/** A webhook as a client's backend got it. */
export interface SeenWebhook {
  readonly client: string;
  readonly id: string;
  /** Whether its signature is right. */
  readonly signed: boolean;
  readonly body: WebhookBody;
}

/** Everything there is to be seen at one moment. */
export interface Observed {
  /** By message id. */
  readonly jobs: ReadonlyMap<string, readonly SeenJob[]>;
  readonly webhooks: readonly SeenWebhook[];
  readonly poison: readonly PoisonEnvelope[];
  /** Messages in the clients' queues, those in hand included. */
  readonly queued: number;
}

/** Looks at everything; Jobs are followed meanwhile. */
export type Look = () => Promise<Observed>;

/** Begins to follow the Jobs, until `signal` aborts. */
export function observe(world: World, signal: AbortSignal): Look {
  const seen = followJobs(world.store, signal);
  const queues = QueueServiceClient.fromConnectionString(world.connectionString);
  const poisonOf = async (queue: string): Promise<PoisonEnvelope[]> => {
    const client = queues.getQueueClient(`${queue}-poison`);
    if (!(await client.exists())) return [];
    const { peekedMessageItems } = await client.peekMessages({ numberOfMessages: 32 });
    return peekedMessageItems.flatMap(({ messageText }) => parseEnvelope(messageText) ?? []);
  };
  const queuedIn = async (queue: string) =>
    (await queues.getQueueClient(queue).getProperties()).approximateMessagesCount ?? 0;
  return async () => {
    const [poison, queued] = await Promise.all([
      Promise.all(clients.map(({ queue }) => poisonOf(queue))),
      Promise.all(clients.map(({ queue }) => queuedIn(queue))),
    ]);
    return {
      jobs: Map.groupBy(seen(), ({ job }) => job.annotations[ANNOTATION.messageId] ?? ''),
      webhooks: webhooksOf(world),
      poison: poison.flat(),
      queued: queued.reduce((sum, count) => sum + count, 0),
    };
  };
}

function followJobs(store: JobStore, signal: AbortSignal): () => SeenJob[] {
  const jobs = new Map<string, JobRecord>();
  const pods = new Map<string, PodRecord>();
  void store.follow((one) => {
    if (one.kind === 'job') jobs.set(one.job.uid, one.job);
    if (one.kind === 'pod') pods.set(one.pod.name, one.pod);
  }, signal);
  return () =>
    [...jobs.values()].map((job) => ({ job, pods: [...pods.values()].filter(({ jobName }) => jobName === job.name) }));
}

function webhooksOf({ sink, webhookSecret }: World): SeenWebhook[] {
  const verifier = new Webhook(webhookSecret);
  return sink.requests.flatMap(({ path, headers, body }) => {
    const parsed = webhookBodySchema.safeParse(JSON.parse(body));
    if (!parsed.success) return [];
    let signed = true;
    try {
      verifier.verify(body, headers as Record<string, string>);
    } catch {
      signed = false;
    }
    return [{ client: path.split('/').at(-1) ?? '', id: String(headers['webhook-id']), signed, body: parsed.data }];
  });
}
