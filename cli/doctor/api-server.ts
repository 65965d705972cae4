/** Whether the API server answers, which version it is, who asks, and what time it has. */
import type { Clock } from '../../lib/clock.ts';
import { fromIso } from '../../lib/clock.ts';
import type { Sighting } from '../../queue/inspect.ts';
import { ask, refusalOf } from '../ask.ts';
import type { Cluster } from '../cluster.ts';
import { type Finding, ok, problem } from './finding.ts';

/** The oldest Kubernetes that Slipway runs on. */
const OLDEST = [1, 33] as const;

/** What the API server told. */
export interface ApiServer {
  readonly finding: Finding;
  /** False: it did not answer, and nothing else is to be asked of it. */
  readonly reached: boolean;
  /** Who asks; undefined when it does not tell. */
  readonly user: string | undefined;
  readonly time: Sighting | undefined;
}

const CHECK = 'API server';

/** Asks the API server about itself. */
export async function examineApiServer({ api, server }: Cluster, clock: Clock): Promise<ApiServer> {
  const version = await ask(api.request({ method: 'GET', path: '/version' }));
  if (!version.ok) {
    const detail = `${server} does not answer: ${refusalOf(version.error)}`;
    const command = 'kubectl config get-contexts && kubectl version';
    return { finding: problem(CHECK, detail, command), reached: false, user: undefined, time: undefined };
  }
  const { user, time } = await introduction(api, clock);
  const { gitVersion = '' } = version.value as { gitVersion?: string };
  const as = user === undefined ? '' : `, asked as ${user}`;
  const told = { reached: true, user, time };
  return isNewEnough(gitVersion)
    ? { finding: ok(CHECK, `Kubernetes ${gitVersion} at ${server}${as}`), ...told }
    : {
        finding: problem(
          CHECK,
          `Kubernetes ${gitVersion} at ${server}: Slipway needs ${OLDEST.join('.')} or later. Upgrade the cluster, or name another`,
          'kubectl config get-contexts',
        ),
        ...told,
      };
}

/** True for a version that Slipway runs on. */
export function isNewEnough(gitVersion: string): boolean {
  const [, major = '', minor = ''] = /^v?(\d+)\.(\d+)/.exec(gitVersion) ?? [];
  return Number(major) > OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) >= OLDEST[1]);
}

/** Everybody may ask who they are. The answer is stamped with the server's time, in whole seconds. */
async function introduction(api: Cluster['api'], clock: Clock): Promise<Pick<ApiServer, 'user' | 'time'>> {
  const before = clock.now();
  const review = await ask(
    api.request({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    }),
  );
  if (!review.ok) return { user: undefined, time: undefined };
  const { metadata, status } = review.value as {
    metadata?: { creationTimestamp?: string | null };
    status?: { userInfo?: { username?: string } };
  };
  const theirs = fromIso(metadata?.creationTimestamp);
  return {
    user: status?.userInfo?.username,
    time: theirs === undefined ? undefined : { theirs, ours: (before + clock.now()) / 2 },
  };
}
