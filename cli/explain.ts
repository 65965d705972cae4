/** What would become of a message: the operator's own steps from the queue to the Job, without any effect. */
import type { V1Job } from '@kubernetes/client-node';
import { jobName } from '../contract/identity.ts';
import { decodeMessage, type FoundEncoding, type Problem, validateTask } from '../contract/message.ts';
import { buildOf } from '../operator/ci/build.ts';
import {
  type Config,
  clientSettings,
  policyFor,
  policyOfClient,
  type Source,
  type TaskPolicy,
} from '../operator/config.ts';
import { discover } from '../operator/discover.ts';
import { manifest } from '../operator/jobs/manifest.ts';

/** What becomes of a message. */
export type Fate =
  | {
      readonly kind: 'job';
      readonly source: Source;
      readonly encoding: FoundEncoding;
      readonly taskId: string;
      readonly taskType: string;
      readonly policy: TaskPolicy;
      readonly job: V1Job;
    }
  | {
      readonly kind: 'malformed';
      readonly source: Source;
      readonly problems: readonly Problem[];
      /** Where the operator sends a report of it all the same. */
      readonly webhookUrl: string | undefined;
    }
  | {
      readonly kind: 'unknown-type';
      readonly source: Source;
      readonly taskType: string;
      readonly known: readonly string[];
    }
  | {
      readonly kind: 'not-received';
      /** '': not said, and none is configured by name. */
      readonly queue: string;
      readonly known: readonly string[];
      readonly discovery: Config['file']['discovery'];
    };

/** Stands for the id that only the queue gives: Job names made of it are examples. */
export const EXAMPLE_MESSAGE_ID = '00000000-0000-0000-0000-000000000000';

/** Milliseconds that a message lives unless its producer says otherwise. */
const LIFE_MS = 7 * 86_400_000;

/**
 * Tells a message's fate.
 *
 * @param text the message as it stands in the queue
 * @param queue the queue that it is in; undefined: the first one that is configured
 * @param now milliseconds since the epoch, for the times on the Job
 */
export function fateOf(text: string, config: Config, queue: string | undefined, messageId: string, now: number): Fate {
  const { discovery } = config.file;
  const found = queue === undefined || discovery === undefined ? [] : discover([queue], discovery);
  const source = [...config.sources, ...found].find((one) => queue === undefined || one.queue === queue);
  if (source === undefined)
    return { kind: 'not-received', queue: queue ?? '', known: config.sources.map((one) => one.queue), discovery };
  const decoded = decodeMessage(text, source.encoding);
  if (decoded.kind === 'undecodable')
    return { kind: 'malformed', source, problems: [decoded.problem], webhookUrl: undefined };
  const verdict = validateTask(decoded);
  if (verdict.kind === 'invalid')
    return { kind: 'malformed', source, problems: verdict.problems, webhookUrl: verdict.webhookUrl };
  const { task } = verdict;
  const ofType = policyFor(config, task.taskType);
  if (ofType === undefined)
    return { kind: 'unknown-type', source, taskType: task.taskType, known: [...config.policies.keys()] };
  const settings = clientSettings(config, source.client);
  const policy = policyOfClient(ofType, settings);
  const { account } = config.storage;
  const name = jobName({ account, queue: source.queue, messageId }, task.taskType);
  const reading = buildOf(policy.ci, { name: source.client, settings }, task.payload, name);
  if (reading.kind === 'invalid')
    return { kind: 'malformed', source, problems: reading.problems, webhookUrl: task.webhookUrl };
  const inHand = {
    account,
    queue: source.queue,
    client: source.client,
    message: {
      id: messageId,
      popReceipt: 'none',
      dequeueCount: 1,
      insertedOn: now,
      expiresOn: now + LIFE_MS,
      leaseUntil: now + config.file.lease.firstSeconds * 1000,
    },
    taskId: task.taskId,
    taskType: task.taskType,
    taskData: decoded.text,
    encoding: decoded.encoding,
    webhookUrl: task.webhookUrl,
    ...(reading.kind === 'valid' ? { ci: reading.build } : {}),
  };
  const { namespace, instance, installation, hash } = config;
  const job = manifest(inHand, policy, { namespace, instance, installation, configHash: hash });
  return {
    kind: 'job',
    source,
    encoding: decoded.encoding,
    taskId: task.taskId,
    taskType: task.taskType,
    policy,
    job,
  };
}
