/** The namespaces of CI types: whether they are there, take a pod that builds, let the operator in, and have the Secrets that are named. */
import { isKind } from '../../lib/errors.ts';
import { CI_NAMESPACE_PERMISSIONS, CI_PERMISSIONS } from '../../operator/permissions.ts';
import { ask } from '../ask.ts';
import type { Cluster } from '../cluster.ts';
import type { SecretKey } from '../installation.ts';
import { kubectl } from './commands.ts';
import { type Finding, ok, problem } from './finding.ts';
import { type Account, askable, examineRights } from './may.ts';
import { examineKey, examineWhole } from './secrets.ts';

/** Who names the Secrets. */
const BY = 'task types name';
const LEVEL = 'pod-security.kubernetes.io/enforce';

interface EnvEntry {
  readonly name: string;
  readonly valueFrom?: { readonly secretKeyRef?: SecretKey | undefined } | undefined;
}

interface EnvFromEntry {
  readonly secretRef?: { readonly name: string } | undefined;
}

/** A task type, as far as its CI settings are read. */
export interface MaybeCiType {
  readonly type: string;
  /** Of Slipway's runner, which is the sidecar; and the Secrets by which the whole pod pulls. */
  readonly image: string;
  readonly imagePullSecrets: readonly string[];
  readonly env: readonly EnvEntry[];
  readonly envFrom: readonly EnvFromEntry[];
  readonly ci?: CiSettings | undefined;
}
interface CiSettings {
  readonly images: string;
  readonly namespace?: string | undefined;
  readonly registrySecret?: string | undefined;
  readonly gitSecret?: string | undefined;
  readonly report?: { readonly env?: readonly EnvEntry[]; readonly envFrom?: readonly EnvFromEntry[] } | undefined;
}

/** A key that a Secret must have, what it is for, and its value as a word for a shell. */
interface NeededKey extends SecretKey {
  readonly use: string;
  readonly shell: string;
}

/** A namespace in which Jobs of CI types are made. */
export interface CiPlace {
  readonly namespace: string;
  readonly types: readonly string[];
  /** Secrets for registries: each with the registry, as `docker login` names it. */
  readonly registries: readonly { readonly secret: string; readonly server: string }[];
  readonly gitSecrets: readonly string[];
  readonly keys: readonly NeededKey[];
  /** Secrets whose keys become variables, whichever they have. */
  readonly whole: readonly string[];
}

/** Where CI types have their Jobs made; empty where there is no such type. */
export function ciPlaces(own: string, types: Iterable<MaybeCiType>): readonly CiPlace[] {
  const all = [...types].flatMap(({ ci, ...type }) => (ci === undefined ? [] : [{ ...type, ci }]));
  return [...Map.groupBy(all, ({ ci }) => ci.namespace ?? own)].map(([namespace, here]) => {
    const keys = here.flatMap(({ env, ci }) =>
      [...env, ...(ci.report?.env ?? [])].flatMap(({ name: use, valueFrom }): NeededKey[] => {
        const from = valueFrom?.secretKeyRef;
        return from === undefined ? [] : [{ name: from.name, key: from.key, use, shell: `"$${use}"` }];
      }),
    );
    const pushed = here.flatMap(({ ci: { registrySecret: secret, images } }) =>
      secret === undefined ? [] : [{ secret, server: serverOf(images) }],
    );
    const pulled = here.flatMap(({ image, imagePullSecrets }) =>
      imagePullSecrets.map((secret) => ({ secret, server: serverOf(image) })),
    );
    const names = new Set([...pushed, ...pulled].map(({ secret }) => secret));
    // One Secret may be for both: where images are pushed is then the surer server.
    const servers = new Map([...pulled, ...pushed].map(({ secret, server }) => [secret, server]));
    const whole = here.flatMap(({ envFrom, ci }) =>
      [...envFrom, ...(ci.report?.envFrom ?? [])].flatMap(({ secretRef }) => secretRef?.name ?? []),
    );
    return {
      namespace,
      types: here.map(({ type }) => type),
      registries: [...names].map((secret) => ({ secret, server: servers.get(secret) ?? '' })),
      gitSecrets: [...new Set(here.flatMap(({ ci }) => ci.gitSecret ?? []))],
      keys: [...new Map(keys.map((one) => [`${one.name} ${one.key}`, one])).values()],
      whole: [...new Set(whole)],
    };
  });
}

/** The registry of an image, as `docker login` names it. A first part that is no host is an account of Docker Hub, whose credentials have a URL. */
function serverOf(image: string): string {
  const [first = ''] = image.split('/', 1);
  const isHost = first !== image && (/[.:]/.test(first) || first === 'localhost');
  return !isHost || /^(?:index\.)?docker\.io$/.test(first) ? 'https://index.docker.io/v1/' : first;
}

/** Looks at each. `account`: as for `examineRights`; `null`: whose rights to ask about is not known, and said elsewhere. */
export async function examineCi(
  cluster: Cluster,
  user: string | undefined,
  account: Account | undefined | null,
  places: readonly CiPlace[],
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const place of places) {
    const there = { ...cluster, namespace: place.namespace };
    const { finding, exists } = await examinePlace(there, user, place);
    findings.push(finding);
    if (!exists) continue;
    // Of the release's own namespace most rights are asked about already.
    const needed = place.namespace === cluster.namespace ? CI_PERMISSIONS : CI_NAMESPACE_PERMISSIONS;
    if (account !== null)
      findings.push(...(await examineRights(there, user, account, needed, ` in ${place.namespace}`)));
    findings.push(...(await examineSecretsOf(there, user, place)));
  }
  return findings;
}

async function examinePlace(
  { api, namespace }: Cluster,
  user: string | undefined,
  { types }: CiPlace,
): Promise<{ readonly finding: Finding; readonly exists: boolean }> {
  const check = `CI namespace ${namespace}`;
  const label = kubectl(namespace, 'label', 'namespace', namespace, `${LEVEL}=baseline`, '--overwrite');
  const read = await ask(api.request({ method: 'GET', path: `/api/v1/namespaces/${namespace}` }));
  if (!read.ok) {
    if (isKind(read.error, 'not-found'))
      return {
        finding: problem(
          check,
          `it does not exist, and ${types.join(', ')} would have Jobs there. After it is made, helm upgrade gives the operator its rights`,
          `kubectl create namespace ${namespace} && ${label}`,
        ),
        exists: false,
      };
    const right = { group: '', resource: 'namespaces', verbs: ['get'] };
    return { finding: askable(check, read.error, namespace, user, right), exists: true };
  }
  const { metadata } = read.value as { metadata?: { labels?: Readonly<Record<string, string>> } };
  return { finding: judgeLevel(namespace, metadata?.labels?.[LEVEL], types, label), exists: true };
}

/** @param level the namespace's enforced level of Pod Security; undefined when it names none */
function judgeLevel(namespace: string, level: string | undefined, types: readonly string[], label: string): Finding {
  const check = `CI namespace ${namespace}`;
  if (level === 'restricted')
    return problem(
      check,
      `it enforces restricted, and the builder of ${types.join(', ')} is root: no pod of theirs is made. Lower the level, or name another namespace in ci.namespace`,
      label,
    );
  return ok(
    check,
    `it is there for ${types.join(', ')}, and ${level === undefined ? 'enforces no level of Pod Security of its own' : `enforces ${level}, which takes a builder`}`,
  );
}

async function examineSecretsOf(
  cluster: Cluster,
  user: string | undefined,
  { namespace, registries, gitSecrets, keys, whole }: CiPlace,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const own = async (what: string, key: SecretKey, create: readonly string[], literals: string) => {
    const { finding } = await examineKey(cluster, user, `${what} in ${namespace}`, key, '', BY);
    // It is made whole, whether it is there without the key or not at all.
    const make = `${kubectl(namespace, 'create', 'secret', ...create)} ${literals} --dry-run=client -o yaml`;
    const command = `${make} | ${kubectl(namespace, 'apply', '-f', '-')}`;
    findings.push(finding.state === 'PROBLEM' ? { ...finding, command } : finding);
  };
  for (const { secret, server } of registries)
    await own(
      'registry Secret',
      { name: secret, key: '.dockerconfigjson' },
      ['docker-registry', secret, `--docker-server=${server}`],
      '--docker-username="$REGISTRY_USERNAME" --docker-password="$REGISTRY_PASSWORD"',
    );
  for (const secret of gitSecrets)
    await own(
      'git Secret',
      { name: secret, key: 'password' },
      ['generic', secret],
      '--from-literal=username="$GIT_USERNAME" --from-literal=password="$GIT_PASSWORD"',
    );
  for (const { use, shell, ...key } of keys)
    findings.push((await examineKey(cluster, user, `Secret of ${use} in ${namespace}`, key, shell, BY)).finding);
  for (const name of whole) {
    // Which keys it needs is the tests' to know.
    const create = kubectl(namespace, 'create', 'secret', 'generic', name, `--from-env-file=${name}.env`);
    findings.push(await examineWhole(cluster, user, `Secret of envFrom in ${namespace}`, name, create));
  }
  return findings;
}
