/**
 * The pod of a CI task. Pure; golden-tested, and held to a real API server under Pod Security `baseline`.
 *
 *   report (a sidecar, there from the first to the last moment) ─ clone ─▶ build ─▶ task: the image just built, running its tests
 *
 * Of the containers only `build` is root, and has more than no capability; `task` sees no credential of git, registry or storage.
 */
import type {
  V1Container,
  V1EnvVar,
  V1PodSpec,
  V1ResourceRequirements,
  V1SecurityContext,
} from '@kubernetes/client-node';
import { CI_KIND, LABEL, POD_ANNOTATION, TASK_CONTAINER } from '../../contract/identity.ts';
import { RUNNER_ENV } from '../../contract/runner-abi.ts';
import { executorArgs } from '../../kaniko/executor.ts';
import type { TaskPolicy } from '../config.ts';
import { CLONE_ENV, CLONE_SCRIPT } from './clone.ts';
import type { CiTask } from './payload.ts';
import type { CiConfig } from './settings-schema.ts';

/** What the pod is made by: the type's settings for one client. `image` is our runner's, `env` that of the tests. */
export type CiPolicy = Pick<
  TaskPolicy,
  'image' | 'imagePullPolicy' | 'imagePullSecrets' | 'resources' | 'env' | 'envFrom' | 'graceSeconds'
> & {
  readonly ci: CiConfig;
};

/** The part of the pod that is a CI task's own. */
export type CiPod = Required<
  Pick<V1PodSpec, 'initContainers' | 'containers' | 'volumes' | 'securityContext' | 'imagePullSecrets'>
>;

const WORKSPACE = '/workspace';
/**
 * Where the builder sees it. Kaniko takes what is mounted for none of the image: beneath any other folder, files that a Dockerfile puts there would
 * be lost without a word.
 */
const BUILD_WORKSPACE = '/kaniko/workspace';
/** Where tests put what is to be kept; the payload's artifacts and junit are paths in it. */
const ARTIFACTS = '/artifacts';
const DOCKER_CONFIG = '/kaniko/.docker';
const OUR_USER = 65532;
/** Enough for a report of tens of thousands of tests. */
const REPORT_MEMORY = '256Mi';

/**
 * Makes the pod.
 *
 * @param image with the tag that is built and tested
 */
export function ciPod(task: CiTask, image: string, client: string, policy: CiPolicy): CiPod {
  const { registrySecret } = policy.ci;
  const pullSecrets = new Set([...(registrySecret === undefined ? [] : [registrySecret]), ...policy.imagePullSecrets]);
  return {
    // Files of the shared folders belong to a group that every container is in.
    securityContext: {
      fsGroup: OUR_USER,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    imagePullSecrets: [...pullSecrets].map((name) => ({ name })),
    initContainers: [reporter(client, policy), cloner(task, policy), builder(task, image, policy)],
    containers: [tester(task, image, policy)],
    volumes: [
      { name: 'workspace', emptyDir: {} },
      { name: 'artifacts', emptyDir: {} },
      { name: 'clone-tmp', emptyDir: {} },
      { name: 'report-tmp', emptyDir: {} },
      ...(registrySecret === undefined
        ? []
        : [
            {
              name: 'docker-config',
              secret: { secretName: registrySecret, items: [{ key: '.dockerconfigjson', path: 'config.json' }] },
            },
          ]),
    ],
  };
}

/** What the pod's labels have to say besides: of its kind, by which a NetworkPolicy finds it, and of who it is in Azure. */
export function ciLabels({ ci }: Pick<CiPolicy, 'ci'>): Readonly<Record<string, string>> {
  return { [LABEL.kind]: CI_KIND, ...(ci.builder.workloadIdentity ? { 'azure.workload.identity/use': 'true' } : {}) };
}

/** And its annotations. The token of AKS workload identity is for the builder alone. */
export function ciAnnotations(
  { artifacts, junit }: CiTask,
  { ci }: Pick<CiPolicy, 'ci'>,
): Readonly<Record<string, string>> {
  const others = ['report', 'clone', TASK_CONTAINER].join(';');
  return {
    [POD_ANNOTATION.ciCollect]: JSON.stringify({ artifacts, junit }),
    ...(ci.builder.workloadIdentity ? { 'azure.workload.identity/skip-containers': others } : {}),
  };
}

function reporter(client: string, { image, imagePullPolicy, ci, graceSeconds }: CiPolicy): V1Container {
  const fromAnnotation = (name: string, annotation: string): V1EnvVar => ({
    name,
    valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${annotation}']` } },
  });
  const { env, envFrom } = ci.report;
  return {
    name: 'report',
    image,
    imagePullPolicy,
    restartPolicy: 'Always',
    env: [
      fromAnnotation('CI_COLLECT', POD_ANNOTATION.ciCollect),
      fromAnnotation(RUNNER_ENV.taskId, POD_ANNOTATION.taskId),
      { name: RUNNER_ENV.clientId, value: client },
      { name: 'CI_ARTIFACTS', value: ARTIFACTS },
      // What it has not stored by then it never will.
      { name: 'CI_COLLECT_WITHIN', value: String(graceSeconds) },
      ...(env as V1EnvVar[]),
    ],
    ...(envFrom.length === 0 ? {} : { envFrom: envFrom as NonNullable<V1Container['envFrom']> }),
    resources: { requests: { cpu: '50m', memory: REPORT_MEMORY }, limits: { memory: REPORT_MEMORY } },
    securityContext: restricted(OUR_USER),
    volumeMounts: [
      { name: 'artifacts', mountPath: ARTIFACTS, readOnly: true },
      { name: 'report-tmp', mountPath: '/tmp' },
    ],
  };
}

/** Of clone and build: as much for the one as for the other, since they run one after the other. */
function buildResources({ cpu, memory, ephemeralStorage }: CiConfig['builder']['resources']): V1ResourceRequirements {
  return {
    // A node with little left takes it all the same; beyond the limit the pod is put out.
    requests: { cpu, memory, 'ephemeral-storage': '1Gi' },
    limits: { memory, 'ephemeral-storage': ephemeralStorage },
  };
}

function cloner(task: CiTask, { ci }: CiPolicy): V1Container {
  const { gitImage, gitSecret, gitHosts, builder } = ci;
  const fromSecret = (name: string, key: string, optional: boolean): V1EnvVar => ({
    name,
    valueFrom: { secretKeyRef: { name: gitSecret ?? '', key, ...(optional ? { optional } : {}) } },
  });
  return {
    name: 'clone',
    image: gitImage,
    command: ['/bin/sh', '-c', literal(CLONE_SCRIPT)],
    workingDir: WORKSPACE,
    env: [
      { name: CLONE_ENV.repository, value: literal(task.repository) },
      { name: CLONE_ENV.commit, value: task.commit ?? '' },
      { name: CLONE_ENV.ref, value: literal(task.ref ?? '') },
      { name: CLONE_ENV.submodules, value: String(task.submodules) },
      { name: CLONE_ENV.context, value: literal(task.context) },
      { name: CLONE_ENV.dockerfile, value: literal(dockerfileOf(task)) },
      ...(gitSecret === undefined
        ? []
        : [
            { name: CLONE_ENV.origins, value: gitHosts.map(originOf).join(' ') },
            fromSecret(CLONE_ENV.user, 'username', true),
            fromSecret(CLONE_ENV.password, 'password', false),
          ]),
    ],
    resources: buildResources(builder.resources),
    securityContext: restricted(OUR_USER),
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { name: 'workspace', mountPath: WORKSPACE },
      { name: 'clone-tmp', mountPath: '/tmp' },
    ],
  };
}

function originOf(host: string): string {
  return host.includes('://') ? host : `https://${host}`;
}

function dockerfileOf({ dockerfile, context }: CiTask): string {
  return dockerfile ?? (context === '.' ? 'Dockerfile' : `${context}/Dockerfile`);
}

function builder(task: CiTask, image: string, { ci }: CiPolicy): V1Container {
  const { registrySecret, builder: settings } = ci;
  const args = executorArgs({
    workspace: BUILD_WORKSPACE,
    context: task.context,
    dockerfile: dockerfileOf(task),
    destinations: [image],
    buildArgs: task.build_args,
    target: task.target,
    cache: task.cache ? settings.cache : undefined,
    insecureRegistries: settings.insecureRegistries,
    flags: settings.flags,
  });
  return {
    name: 'build',
    image: settings.image,
    args: args.map(literal),
    resources: buildResources(settings.resources),
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'], add: [...settings.capabilities] },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { name: 'workspace', mountPath: BUILD_WORKSPACE, readOnly: true },
      ...(registrySecret === undefined ? [] : [{ name: 'docker-config', mountPath: DOCKER_CONFIG, readOnly: true }]),
    ],
  };
}

function tester({ test }: CiTask, image: string, { ci, resources, env, envFrom }: CiPolicy): V1Container {
  const { command } = test;
  const { user } = ci.test;
  const { cpu, memory, ephemeralStorage } = resources;
  const storage = ephemeralStorage === undefined ? {} : { 'ephemeral-storage': ephemeralStorage };
  return {
    name: TASK_CONTAINER,
    image,
    // A tag that is built anew by another attempt is not the one that the node remembers.
    imagePullPolicy: 'Always',
    command: (typeof command === 'string' ? ['/bin/sh', '-c', command] : command).map(literal),
    env: [
      // What most test tools look for, so that they ask nobody and draw nothing.
      { name: 'CI', value: 'true' },
      ...Object.entries(test.env).map(([name, value]) => ({ name, value: literal(value) })),
      ...(env as V1EnvVar[]),
      { name: 'SLIPWAY_ARTIFACTS', value: ARTIFACTS },
    ],
    ...(envFrom.length === 0 ? {} : { envFrom: envFrom as NonNullable<V1Container['envFrom']> }),
    resources: { requests: { cpu, memory, ...storage }, limits: { memory, ...storage } },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      ...(user === 'image' ? {} : { runAsUser: user, runAsNonRoot: user !== 0 }),
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [{ name: 'artifacts', mountPath: ARTIFACTS }],
  };
}

function restricted(user: number): V1SecurityContext {
  return {
    runAsUser: user,
    runAsGroup: user,
    runAsNonRoot: true,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  };
}

/** Kubernetes expands `$(NAME)` and `$$` in arguments and plain values; each `$` that is doubled arrives as one. */
function literal(text: string): string {
  return text.replaceAll('$', '$$$$');
}
