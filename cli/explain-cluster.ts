/** What a cluster says of a message's Job: whether it is taken, whether it is there already, and why it would wait. Changes nothing. */
import type { V1Job } from '@kubernetes/client-node';
import { ANNOTATION, LABEL, MANAGED_BY } from '../contract/identity.ts';
import { isKind } from '../lib/errors.ts';
import { takesSlot } from '../operator/admission/slots.ts';
import { type Config, policyFor } from '../operator/config.ts';
import { type JobRecord, jobRecord, type RawJob } from '../operator/jobs/records.ts';
import { type Answer, ask, refusalOf } from './ask.ts';
import { type Cap, capsOf } from './caps.ts';
import type { Cluster } from './cluster.ts';
import type { Fate } from './explain.ts';
import { OPERATOR_SELECTOR } from './installation.ts';

/** One thing that was asked, and the answer. `unknown`: there was none, and why. */
export interface Word {
  readonly about: 'admission' | 'existing' | 'slots' | 'paused';
  readonly state: 'good' | 'bad' | 'unknown';
  readonly text: string;
}

type WithJob = Extract<Fate, { kind: 'job' }>;

/**
 * Asks the cluster.
 *
 * @param isRealName whether account and message id are the real ones, so that the Job's name means something
 * @param isRealAccount whether the account is the real one, so that the installation's identity does
 */
export async function askCluster(
  cluster: Cluster,
  config: Config,
  fate: WithJob,
  { isRealName, isRealAccount }: { readonly isRealName: boolean; readonly isRealAccount: boolean },
): Promise<readonly Word[]> {
  const existing = isRealName ? await findJob(cluster, fate.job) : undefined;
  return [
    ...(existing === undefined ? [] : [existing]),
    await admission(cluster, fate.job),
    ...(await slots(cluster, config, fate, isRealAccount)),
    await paused(cluster, fate.policy.type),
  ];
}

async function admission({ api, namespace }: Cluster, job: V1Job): Promise<Word> {
  const path = `/apis/batch/v1/namespaces/${job.metadata?.namespace ?? namespace}/jobs`;
  const answer = await ask(
    api.request({ method: 'POST', path, body: job, query: { dryRun: 'All', fieldValidation: 'Strict' } }),
  );
  if (answer.ok) return { about: 'admission', state: 'good', text: 'the API server would take this Job' };
  const { error } = answer;
  if (isKind(error, 'conflict') && error.code === 'AlreadyExists')
    return { about: 'admission', state: 'good', text: 'a Job of this name is there already' };
  if (isKind(error, 'invalid'))
    return {
      about: 'admission',
      state: 'bad',
      text: `the API server refuses this Job, so its type is paused and the message stays in its queue: ${refusalOf(error)}`,
    };
  if (isKind(error, 'forbidden'))
    return {
      about: 'admission',
      state: 'unknown',
      text: `the API server refuses this Job to you (${refusalOf(error)}). Your rights are not the operator's: slipway doctor tells what it may do`,
    };
  return { about: 'admission', state: 'unknown', text: refusalOf(error) };
}

async function findJob({ api, namespace }: Cluster, job: V1Job): Promise<Word> {
  const name = job.metadata?.name ?? '';
  const path = `/apis/batch/v1/namespaces/${job.metadata?.namespace ?? namespace}/jobs/${name}`;
  const found = await ask(api.request({ method: 'GET', path }));
  if (found.ok) return { about: 'existing', state: 'good', text: stateOf(jobRecord(found.value as RawJob)) };
  return isKind(found.error, 'not-found')
    ? { about: 'existing', state: 'good', text: 'none yet: the message would get a new one' }
    : { about: 'existing', state: 'unknown', text: refusalOf(found.error) };
}

function stateOf(job: JobRecord): string {
  const since = new Date(job.createdAt).toISOString();
  if (job.settled) return `made ${since} and settled: the message would only be deleted`;
  if (job.end !== undefined) return `made ${since}, ended (${job.end.reason}) and about to be settled`;
  if (!takesSlot(job)) return `made ${since} and held back (suspended): the message would be given to it`;
  return `made ${since} and unfinished: the message would be given to it, and not judged anew`;
}

async function slots(
  cluster: Cluster,
  config: Config,
  fate: WithJob,
  isRealAccount: boolean,
): Promise<readonly Word[]> {
  const jobs = await listJobs(cluster, isRealAccount ? config.installation : undefined);
  if (!jobs.ok) return [{ about: 'slots', state: 'unknown', text: refusalOf(jobs.error) }];
  return capsOf(config, fate.source, fate.policy).map((cap) => wordOfCap(cap, runningUnder(cap, jobs.value, config)));
}

/** Unfinished tasks that count against a cap. */
function runningUnder({ scope, name }: Cap, jobs: readonly JobRecord[], config: Config): number {
  return jobs
    .filter(takesSlot)
    .filter(
      (job) =>
        scope === 'all' ||
        (scope === 'client'
          ? job.annotations[ANNOTATION.client] === name
          : policyFor(config, job.labels[LABEL.taskType] ?? '')?.type === name),
    ).length;
}

function wordOfCap({ scope, name, max, setting }: Cap, running: number): Word {
  const whose = { all: 'tasks', client: `tasks of client ${name}`, type: `tasks of type ${name}` }[scope];
  const text = `${running} of ${max} ${whose} run (${setting})`;
  return running < max
    ? { about: 'slots', state: 'good', text }
    : { about: 'slots', state: 'bad', text: `${text}: the message waits in its queue until one of them ends` };
}

const PAGE = 250;

async function listJobs(
  { api, namespace }: Cluster,
  installation: string | undefined,
): Promise<Answer<readonly JobRecord[]>> {
  const labelSelector = [
    `${LABEL.managedBy}=${MANAGED_BY}`,
    ...(installation === undefined ? [] : [`${LABEL.installation}=${installation}`]),
  ].join(',');
  return ask(
    (async () => {
      const jobs: JobRecord[] = [];
      let next = '';
      do {
        const query = { labelSelector, limit: PAGE, ...(next === '' ? {} : { continue: next }) };
        const page = (await api.request({
          method: 'GET',
          path: `/apis/batch/v1/namespaces/${namespace}/jobs`,
          query,
        })) as { metadata?: { continue?: string }; items?: RawJob[] };
        jobs.push(...(page.items ?? []).map(jobRecord));
        next = page.metadata?.continue ?? '';
      } while (next !== '');
      return jobs;
    })(),
  );
}

interface Readiness {
  checks?: { name?: string; detail?: string }[];
}

/** Whether the running operator has paused the type: its readiness says so; where that cannot be read, its Events. */
async function paused(cluster: Cluster, type: string): Promise<Word> {
  const { api, namespace } = cluster;
  const pods = await ask(
    api.request({
      method: 'GET',
      path: `/api/v1/namespaces/${namespace}/pods`,
      query: { labelSelector: OPERATOR_SELECTOR, fieldSelector: 'status.phase=Running' },
    }),
  );
  if (!pods.ok) return { about: 'paused', state: 'unknown', text: refusalOf(pods.error) };
  const pod = (pods.value as { items?: { metadata?: { name?: string } }[] }).items?.[0]?.metadata?.name;
  if (pod === undefined)
    return {
      about: 'paused',
      state: 'bad',
      text: 'no operator runs in this namespace: messages stay in their queues',
    };
  // Without a port: the first one of its first container.
  const readiness = await ask(
    api.request({ method: 'GET', path: `/api/v1/namespaces/${namespace}/pods/${pod}/proxy/readyz` }),
  );
  if (readiness.ok) return wordOfReadiness(readiness.value as Readiness, type);
  return (
    (await eventOf(cluster, type)) ?? {
      about: 'paused',
      state: 'unknown',
      text: `the readiness of ${pod} cannot be read (${refusalOf(readiness.error)}), and no Event says that the type is paused`,
    }
  );
}

function wordOfReadiness({ checks = [] }: Readiness, type: string): Word {
  const detail = checks.find(({ name }) => name === 'task types')?.detail ?? '';
  const own = detail
    .replace(/^paused: /, '')
    .split('; ')
    .find((part) => part.startsWith(`${type}: `));
  if (own === undefined) return { about: 'paused', state: 'good', text: `the type is not paused (${detail})` };
  return {
    about: 'paused',
    state: 'bad',
    text: `the type is paused, its messages are kept: ${own.slice(type.length + 2)}`,
  };
}

interface RawEvent {
  message?: string;
  lastTimestamp?: string;
}

async function eventOf({ api, namespace }: Cluster, type: string): Promise<Word | undefined> {
  const events = await ask(
    api.request({
      method: 'GET',
      path: `/api/v1/namespaces/${namespace}/events`,
      query: { fieldSelector: 'reason=TaskTypePaused' },
    }),
  );
  if (!events.ok) return undefined;
  const said = ((events.value as { items?: RawEvent[] }).items ?? [])
    .filter(({ message }) => message?.startsWith(`Task type ${type} is paused`))
    .toSorted((a, b) => (a.lastTimestamp ?? '').localeCompare(b.lastTimestamp ?? ''))
    .at(-1);
  if (said === undefined) return undefined;
  return {
    about: 'paused',
    state: 'unknown',
    text: `the operator's readiness cannot be read; its Event of ${said.lastTimestamp ?? 'some time ago'} says: ${said.message}`,
  };
}
