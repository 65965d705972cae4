/** What has ever been true of the Jobs of a namespace: each version of each of them, by a connection of its own. */
import { KubeConfig } from '@kubernetes/client-node';
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
