/** The doctor: every check, in the order in which one builds on the other. Nothing is changed anywhere. */
import type { Clock } from '../../lib/clock.ts';
import { isKind } from '../../lib/errors.ts';
import type { ContainerGroups } from '../../operator/aci/groups.ts';
import { aciTerms } from '../../operator/aci/terms.ts';
import type { Config } from '../../operator/config.ts';
import type { InvalidAccess, StorageAccess } from '../../queue/access.ts';
import type { QueueInspector } from '../../queue/inspect.ts';
import type { Cluster } from '../cluster.ts';
import { type Deployment, readConfiguration } from '../installation.ts';
import { ANY_ENVIRONMENT, readConfig } from '../read-config.ts';
import { examineApiServer } from './api-server.ts';
import { examineAzure, examineAzureIdentity } from './azure.ts';
import { ciPlaces, examineCi } from './ci.ts';
import { judgeClocks } from './clocks.ts';
import { kubectl } from './commands.ts';
import { type Finding, ok, problem, unknown } from './finding.ts';
import { askable, examineRights } from './may.ts';
import { examineNamespace } from './namespace.ts';
import { neededRights } from './needed.ts';
import { examineOperator } from './operator.ts';
import { examineSecrets } from './secrets.ts';
import { examineStorage } from './storage.ts';

/** What the doctor works with. */
export interface DoctorTools {
  /** The cluster, or what is wrong with the kubeconfig. */
  readonly cluster: Cluster | { readonly problem: string };
  /** The storage account of the environment. */
  readonly environment: StorageAccess | InvalidAccess;
  readonly inspect: (access: StorageAccess) => QueueInspector;
  /** Container groups, asked for with the credentials of the environment. */
  readonly groupsIn: (resourceGroup: string, endpoint: string | undefined) => ContainerGroups;
  readonly clock: Clock;
  /** This command line's version. */
  readonly version: string;
}

/** What the person chose. */
export interface DoctorOptions {
  /** Ask about the rights of whoever asks, not of the operator's service account. */
  readonly self: boolean;
  /** Take the storage credentials from the Secret of the installation. */
  readonly fromSecret: boolean;
}

/** What is known of the cluster, for the checks of the storage account. */
interface Seen {
  readonly findings: readonly Finding[];
  readonly config: Config | undefined;
  readonly secretAccess: StorageAccess | undefined;
  readonly apiServerTime: Parameters<typeof judgeClocks>[0]['time'];
}

/** Makes all checks. */
export async function examine(tools: DoctorTools, options: DoctorOptions): Promise<readonly Finding[]> {
  const { clock } = tools;
  const seen = await examineCluster(tools, options);
  const chosen = chooseAccess(tools, options, seen.secretAccess);
  const inspector = chosen.access === undefined ? undefined : tools.inspect(chosen.access);
  const storage =
    chosen.access === undefined || inspector === undefined
      ? []
      : await examineStorage({
          access: chosen.access,
          inspector,
          queues: seen.config?.sources.map(({ queue }) => queue),
          discovery: seen.config?.file.discovery,
          isOfEnvironment: !options.fromSecret,
          now: clock.now(),
        });
  const unreached = 'it gave no answer that has a time';
  const clocks = judgeClocks(
    { name: 'the API server', short: 'API server', time: seen.apiServerTime, whyNot: unreached },
    {
      name: 'the storage service',
      short: 'storage',
      time: await inspector?.time(),
      whyNot: inspector === undefined ? 'it was not asked, for want of credentials' : unreached,
    },
  );
  return [...seen.findings, ...chosen.findings, ...storage, ...clocks];
}

async function examineCluster(tools: DoctorTools, options: DoctorOptions): Promise<Seen> {
  const { cluster, clock, version } = tools;
  const nothing = { config: undefined, secretAccess: undefined, apiServerTime: undefined };
  const unasked = unknown('the rest of the cluster', 'not asked, since the API server was not reached');
  if ('problem' in cluster)
    return {
      findings: [problem('API server', cluster.problem, 'kubectl config get-contexts'), unasked],
      ...nothing,
    };
  const server = await examineApiServer(cluster, clock);
  if (!server.reached) return { findings: [server.finding, unasked], ...nothing };
  const { user } = server;
  const operator = await examineOperator(cluster, user, version);
  const { deployment } = operator;
  const configuration = await examineConfiguration(cluster, user, deployment);
  const needed = neededRights(configuration.config);
  const { namespace } = cluster;
  const account = deployment && { namespace, name: deployment.serviceAccount };
  // Null: not known.
  const asked = options.self ? undefined : (account ?? null);
  const rights =
    asked !== null
      ? await examineRights(cluster, user, asked, needed)
      : [
          unknown(
            'rights',
            "the operator's service account is not known without its Deployment; --self asks about you",
          ),
        ];
  const secrets = deployment === undefined ? undefined : await examineSecrets(cluster, user, deployment);
  return {
    findings: [
      server.finding,
      ...operator.findings,
      ...rights,
      ...(secrets?.findings ?? [unknown('storage Secret', 'which one it is is not known without the Deployment')]),
      configuration.finding,
      ...(await examineAci(tools, options, cluster, user, deployment, configuration.config)),
      ...(await examineNamespace(cluster, user, configuration.config)),
      ...(await examineCi(
        cluster,
        user,
        asked,
        configuration.config === undefined ? [] : ciPlaces(namespace, configuration.config.policies.values()),
      )),
    ],
    config: configuration.config,
    secretAccess: secrets?.access,
    apiServerTime: server.time,
  };
}

/** Only where a task may run there. */
async function examineAci(
  { clock, groupsIn }: DoctorTools,
  options: DoctorOptions,
  cluster: Cluster,
  user: string | undefined,
  deployment: Deployment | undefined,
  config: Config | undefined,
): Promise<readonly Finding[]> {
  const aci = config?.file.aci;
  const terms = config && aciTerms(config.file);
  const isUsed = [...(config?.policies.values() ?? [])].some(({ backend }) => backend === 'aci');
  if (aci === undefined || terms === undefined || !isUsed) return [];
  const groups = groupsIn(terms.resourceGroup, aci.endpoint);
  const who = { clock, namespace: cluster.namespace, isOperator: options.self };
  return [
    ...(deployment === undefined ? [] : await examineAzureIdentity(cluster, user, deployment)),
    await examineAzure(aci, groups, who),
  ];
}

async function examineConfiguration(
  cluster: Cluster,
  user: string | undefined,
  deployment: Deployment | undefined,
): Promise<{ readonly finding: Finding; readonly config?: Config }> {
  const check = 'configuration';
  const { namespace } = cluster;
  if (deployment?.configMap === undefined)
    return { finding: unknown(check, 'which ConfigMap holds it is not known without the Deployment') };
  const name = deployment.configMap;
  const text = await readConfiguration(cluster, name);
  const upgrade = `helm upgrade slipway charts/slipway -n ${namespace} -f values.yaml`;
  if (!text.ok) {
    if (isKind(text.error, 'not-found'))
      return { finding: problem(check, `there is no ConfigMap ${name} in ${namespace}`, upgrade) };
    return {
      finding: askable(check, text.error, namespace, user, { group: '', resource: 'configmaps', verbs: ['get'], name }),
    };
  }
  if (text.value === undefined)
    return { finding: problem(check, `the ConfigMap ${name} has no key config.yaml`, upgrade) };
  const read = readConfig(text.value, 'config.yaml', { ...ANY_ENVIRONMENT, namespace });
  if (read.kind === 'wrong') {
    const [first = '', ...others] = read.problems;
    const more = others.length === 0 ? '' : `, and ${others.length} more`;
    const show = `${kubectl(namespace, 'get', 'configmap', name)} -o go-template='{{ index .data "config.yaml" }}' | slipway config check -`;
    return { finding: problem(check, `the operator refuses it: ${first}${more}`, show) };
  }
  const { sources, policies } = read.config;
  const queues = sources.map(({ queue }) => queue);
  const found =
    read.config.file.discovery && `those that are found by ${read.config.file.discovery.include.join(', ')}`;
  const detail = `ConfigMap ${name}: queues ${[...queues, ...(found === undefined ? [] : [found])].join(', ')}; task types ${[...policies.keys()].join(', ')}`;
  return { finding: ok(check, detail), config: read.config };
}

/** The credentials to ask the storage account with, and what is to be said of the choice. */
function chooseAccess(
  { environment }: DoctorTools,
  { fromSecret }: DoctorOptions,
  ofSecret: StorageAccess | undefined,
): { readonly access: StorageAccess | undefined; readonly findings: readonly Finding[] } {
  const check = 'storage account';
  if (fromSecret)
    return ofSecret === undefined
      ? {
          access: undefined,
          findings: [unknown(check, "not asked: the installation's Secret could not be read, as said above")],
        }
      : { access: ofSecret, findings: [] };
  if (environment.kind === 'invalid')
    return {
      access: undefined,
      findings: [
        unknown(
          check,
          `not asked: ${environment.problem}; or take them from the installation's`,
          'slipway doctor --from-secret',
        ),
      ],
    };
  if (ofSecret !== undefined && ofSecret.account !== environment.account)
    return {
      access: environment,
      findings: [
        problem(
          'storage credentials',
          `the environment's are for the account ${environment.account}, the operator's for ${ofSecret.account}: what follows is about the former`,
          'slipway doctor --from-secret',
        ),
      ],
    };
  return { access: environment, findings: [] };
}
