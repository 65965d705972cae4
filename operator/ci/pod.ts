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
import { POD_ANNOTATION, TASK_CONTAINER } from '../../contract/identity.ts';
import { RUNNER_ENV } from '../../contract/runner-abi.ts';
import { executorArgs } from '../../kaniko/executor.ts';
import { CLONE_ENV, CLONE_SCRIPT } from './clone.ts';
import type { CiTask } from './payload.ts';

/** What the configuration says of CI tasks. */
export interface CiSettings {
  /** With git and a shell. */
  readonly gitImage: string;
  /** Kaniko's executor. */
  readonly builderImage: string;
  /** Our runner's. */
  readonly runnerImage: string;
  /** Secret of type kubernetes.io/dockerconfigjson with which images are pushed and pulled. */
  readonly registrySecret: string | undefined;
  /** Secret with the keys username and password. */
  readonly gitSecret: string | undefined;
  /** Repository of layers that may be used again. */
  readonly cache: string | undefined;
  readonly insecureRegistries: readonly string[];
  readonly builderFlags: readonly string[];
  /** Whose user the tests run as. */
  readonly testUser: 'image' | number;
  readonly resources: Readonly<Record<'clone' | 'build' | 'test' | 'report', V1ResourceRequirements>>;
  /** What the sidecar reports with, such as the storage account. */
  readonly reportEnv: readonly V1EnvVar[];
}

/** The part of the pod that is a CI task's own. */
export type CiPod = Required<
  Pick<V1PodSpec, 'initContainers' | 'containers' | 'volumes' | 'securityContext' | 'imagePullSecrets'>
>;

const WORKSPACE = '/workspace';
/** Where tests put what is to be kept; the payload's artifacts and junit are paths in it. */
const ARTIFACTS = '/artifacts';
const DOCKER_CONFIG = '/kaniko/.docker';
const OUR_USER = 65532;

/**
 * Makes the pod.
 *
 * @param image with the tag that is built and tested
 */
export function ciPod(task: CiTask, image: string, client: string, settings: CiSettings): CiPod {
  const { registrySecret } = settings;
  return {
    // Files of the shared folders belong to a group that every container is in.
    securityContext: {
      fsGroup: OUR_USER,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    imagePullSecrets: registrySecret === undefined ? [] : [{ name: registrySecret }],
    initContainers: [reporter(client, settings), cloner(task, settings), builder(task, image, settings)],
    containers: [tester(task, image, settings)],
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

function reporter(client: string, { runnerImage, resources, reportEnv }: CiSettings): V1Container {
  const fromAnnotation = (name: string, annotation: string): V1EnvVar => ({
    name,
    valueFrom: { fieldRef: { fieldPath: `metadata.annotations['${annotation}']` } },
  });
  return {
    name: 'report',
    image: runnerImage,
    restartPolicy: 'Always',
    env: [
      fromAnnotation('CI_COLLECT', POD_ANNOTATION.ciCollect),
      fromAnnotation(RUNNER_ENV.taskId, POD_ANNOTATION.taskId),
      { name: RUNNER_ENV.clientId, value: client },
      { name: 'CI_ARTIFACTS', value: ARTIFACTS },
      ...reportEnv,
    ],
    resources: resources.report,
    securityContext: restricted(OUR_USER),
    volumeMounts: [
      { name: 'artifacts', mountPath: ARTIFACTS, readOnly: true },
      { name: 'report-tmp', mountPath: '/tmp' },
    ],
  };
}

/** What the pod's annotations have to say besides. */
export function ciAnnotations({ artifacts, junit }: CiTask): Readonly<Record<string, string>> {
  return { [POD_ANNOTATION.ciCollect]: JSON.stringify({ artifacts, junit }) };
}

function cloner(task: CiTask, { gitImage, gitSecret, resources }: CiSettings): V1Container {
  const fromSecret = (name: string, key: string): V1EnvVar => ({
    name,
    valueFrom: { secretKeyRef: { name: gitSecret ?? '', key } },
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
      ...(gitSecret === undefined
        ? []
        : [fromSecret(CLONE_ENV.user, 'username'), fromSecret(CLONE_ENV.password, 'password')]),
    ],
    resources: resources.clone,
    securityContext: restricted(OUR_USER),
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { name: 'workspace', mountPath: WORKSPACE },
      { name: 'clone-tmp', mountPath: '/tmp' },
    ],
  };
}

function builder(task: CiTask, image: string, settings: CiSettings): V1Container {
  const { builderImage, resources, registrySecret, cache, insecureRegistries, builderFlags } = settings;
  const args = executorArgs({
    workspace: WORKSPACE,
    context: task.context,
    dockerfile: task.dockerfile ?? (task.context === '.' ? 'Dockerfile' : `${task.context}/Dockerfile`),
    destinations: [image],
    buildArgs: task.build_args,
    target: task.target,
    cache: task.cache ? cache : undefined,
    insecureRegistries,
    flags: builderFlags,
  });
  return {
    name: 'build',
    image: builderImage,
    args: args.map(literal),
    resources: resources.build,
    securityContext: {
      runAsUser: 0,
      runAsGroup: 0,
      allowPrivilegeEscalation: false,
      // What unpacking layers and a RUN that changes owners or users needs; SETFCAP for layers with file capabilities.
      capabilities: { drop: ['ALL'], add: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETFCAP', 'SETGID', 'SETUID'] },
    },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    volumeMounts: [
      { name: 'workspace', mountPath: WORKSPACE },
      ...(registrySecret === undefined ? [] : [{ name: 'docker-config', mountPath: DOCKER_CONFIG, readOnly: true }]),
    ],
  };
}

function tester({ test }: CiTask, image: string, { testUser, resources }: CiSettings): V1Container {
  const { command } = test;
  return {
    name: TASK_CONTAINER,
    image,
    // A tag that is built anew by another attempt is not the one that the node remembers.
    imagePullPolicy: 'Always',
    command: (typeof command === 'string' ? ['/bin/sh', '-c', command] : command).map(literal),
    env: [
      ...Object.entries(test.env).map(([name, value]) => ({ name, value: literal(value) })),
      { name: 'SLIPWAY_ARTIFACTS', value: ARTIFACTS },
    ],
    resources: resources.test,
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      ...(testUser === 'image' ? {} : { runAsUser: testUser, runAsNonRoot: testUser !== 0 }),
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
