/** What has ever been true of the Jobs of a namespace: each version of each of them, by a connection of its own. */
import { KubeConfig } from '@kubernetes/client-node';
import { expect } from 'vitest';
import { ANNOTATION, LABEL, STATE } from '#/contract/identity.ts';
import { systemClock } from '#/lib/clock.ts';
import { createKubernetesApi } from '#/operator/jobs/api.ts';
import { type JobRecord, jobRecord, type RawJob } from '#/operator/jobs/records.ts';

/** A history under way. Disposing of it ends it, and fails if it had ended before. */
export interface JobHistory extends AsyncDisposable {
  /** Versions of all Jobs, in the order in which the API server told of them. */
  readonly versions: readonly JobRecord[];
}

/** Starts to watch, with the rights of a kubeconfig. */
export function watchJobHistory(kubeconfig: string, namespace: string): JobHistory {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = createKubernetesApi(config, systemClock);
  const versions: JobRecord[] = [];
  const stop = new AbortController();
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const watching = (async () => {
    const lines = api.lines({ method: 'GET', path, query: { watch: 'true' }, signal: stop.signal });
    for await (const line of lines) versions.push(jobRecord((JSON.parse(line) as { object: RawJob }).object));
  })();
  const ended = watching.then(
    () => new Error('the watch has ended early'),
    (error: unknown) => (stop.signal.aborted ? undefined : error),
  );
  return {
    versions,
    async [Symbol.asyncDispose]() {
      stop.abort();
      const failure = await ended;
      if (failure !== undefined) throw failure;
    },
  };
}

/**
 * What must hold for every Job at every moment, and at the end: one Job a message, settled once, and with a TTL from
 * then on.
 */
export function expectOneLifeEach(history: readonly JobRecord[], count: number): void {
  const byMessage = Map.groupBy(history, ({ annotations }) => annotations[ANNOTATION.messageId]);
  expect(byMessage.size).toBe(count);
  for (const ofOne of byMessage.values()) {
    expect(new Set(ofOne.map(({ uid }) => uid)).size).toBe(1);
    for (const job of ofOne)
      expect(job.ttlSeconds !== undefined, 'has a TTL exactly when it is settled').toBe(job.settled);
    const last = ofOne.at(-1);
    expect(last).toMatchObject({ settled: true, ttlSeconds: expect.any(Number), end: expect.anything() });
    const moments = ofOne.flatMap(({ annotations }) => annotations[ANNOTATION.settled] ?? []);
    expect(new Set(moments).size).toBe(1);
    const states = ofOne.map(({ labels }) => labels[LABEL.state]);
    expect(states).toEqual(states.toSorted((a, b) => (a === b ? 0 : a === STATE.active ? -1 : 1)));
  }
}
