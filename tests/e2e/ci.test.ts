/**
 * CI tasks on a real node, from `helm install`: repositories over HTTP are cloned, built, pushed to a real registry, pulled by the kubelet,
 * tested, reported. The builder is a stand-in for Kaniko (testing/builder), everything else is real.
 * `SLIPWAY_TEST_BUILDER` names an image archive of Kaniko itself, to be used in its place.
 */
import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CiResult, ciResultSchema } from '#/contract/ci-result.ts';
import type { Category } from '#/contract/diagnosis.ts';
import { ANNOTATION, LABEL } from '#/contract/identity.ts';
import { type WebhookBody, webhookBodySchema } from '#/contract/webhook.ts';
import type { JobRecord, RawJob, RawPod } from '#/operator/jobs/records.ts';
import { eventually } from '#/testing/eventually.ts';
import { type GitServer, startGitServer } from '#/testing/git-server.ts';
import { builderArchive, gitArchive } from '#/testing/images.ts';
import { type JobHistory, watchJobHistory } from '#/testing/job-history.ts';
import type { RealNode } from '#/testing/node.ts';
import { installOnNode, type NodeInstallation } from '#/testing/node-installation.ts';
import { type Registry, startRegistry } from '#/testing/registry.ts';

const QUEUE = 'acme-tasks';
const CI = 'ci';
const GIT_PASSWORD = 'a-token-that-no-test-may-see';
/** Seconds that the tests of the type `ci-brief` may run. */
const BRIEF_S = 8;
/** Seconds that clone and build of the type `ci-brief-build` may take: enough for what comes before a step that hangs. */
const BRIEF_BUILD_S = 20;

type Payload = Readonly<Record<string, unknown>>;

/** A task, and what becomes of it. */
interface Case {
  /** Task type; default: ci, of two attempts, or ci-once for what fails. */
  readonly type?: string;
  /** The repository's files; the Dockerfile's `FROM base` is the node's busybox. */
  readonly files?: Readonly<Record<string, string>>;
  /** Default: the repository of these files, at its commit. */
  readonly payload?: (url: string, commit: string) => Payload;
  readonly test?: { readonly command: string | readonly string[]; readonly env?: Readonly<Record<string, string>> };
  readonly more?: Payload;
  readonly job: 'Complete' | 'Failed';
  /** A result; of a failure, what is known of it. */
  readonly result?: object;
  /** A failure by its code and message. */
  readonly error?: readonly [code: Category, message: RegExp];
  readonly attempts?: number;
}

const PLAIN = { Dockerfile: 'FROM base\nWORKDIR /app\nCOPY . .\nRUN test -f Dockerfile && echo built > built.txt\n' };
const dockerfile = (text: string) => ({ Dockerfile: `FROM base\n${text}\n` });

const JUNIT_10000 = `awk 'BEGIN { print "<testsuites><testsuite name=\\"many\\">";
  for (i = 1; i <= 10000; i++) { printf "<testcase classname=\\"c\\" name=\\"n%d\\" time=\\"0.%04d\\">", i, i;
    if (i % 1000 == 0) printf "<failure message=\\"no %d\\">%s</failure>", i, "x"; print "</testcase>" }
  print "</testsuite></testsuites>" }' > $SLIPWAY_ARTIFACTS/junit.xml; exit 1`;

const CASES: Readonly<Record<string, Case>> = {
  passes: {
    files: { ...PLAIN, 'app/x.txt': 'x' },
    test: {
      command:
        'grep -q built built.txt && test -f app/x.txt && echo "$GREETING" > $SLIPWAY_ARTIFACTS/log.txt && echo "<testsuite><testcase name=\'a\' time=\'1.5\'/></testsuite>" > $SLIPWAY_ARTIFACTS/junit.xml',
      env: { GREETING: 'hello $(CI) $$' },
    },
    more: { junit: ['*.xml'], artifacts: ['log.txt', 'nothing.txt'] },
    job: 'Complete',
    result: {
      conclusion: 'success',
      exit_code: 0,
      tests: { tests: 1, passed: 1, failed: 0, slowest: [{ name: 'a', seconds: 1.5 }] },
      artifact_count: 1,
      artifacts: [{ path: 'log.txt', bytes: 15 }],
      problems: [expect.stringContaining('nothing.txt')],
    },
  },
  fails: {
    files: PLAIN,
    test: { command: 'echo one test failed; exit 3' },
    job: 'Failed',
    result: { conclusion: 'failure', exit_code: 3, log_tail: 'one test failed' },
  },
  'by-ref': {
    payload: (url) => ({ repository: url, ref: 'main', test: { command: 'true' } }),
    files: PLAIN,
    job: 'Complete',
    result: { conclusion: 'success' },
  },
  'ten-thousand': {
    files: PLAIN,
    test: { command: JUNIT_10000 },
    more: { junit: ['junit.xml'] },
    job: 'Failed',
    result: { conclusion: 'failure', tests: { tests: 10_000, failed: 10, passed: 9990 } },
  },
  'no-repository': {
    type: 'ci-twice',
    payload: (url) => ({ repository: `${url}.not`, ref: 'main', test: { command: 'true' } }),
    job: 'Failed',
    error: ['CloneFailed', /could not be cloned \(exit code 128\): .*not found/s],
    attempts: 2,
  },
  'no-commit': {
    files: PLAIN,
    payload: (url) => ({ repository: url, commit: 'f'.repeat(40), test: { command: 'true' } }),
    job: 'Failed',
    error: ['CloneFailed', /the repository has no commit f{40}$/],
  },
  private: {
    type: 'ci-private',
    files: PLAIN,
    test: { command: 'env; cat /proc/1/environ; grep -r token / 2>/dev/null --include=config; true' },
    job: 'Complete',
    result: { conclusion: 'success' },
  },
  'private-without-secret': {
    files: PLAIN,
    job: 'Failed',
    error: ['CloneFailed', /could not read Username|Authentication failed/],
  },
  'run-fails': {
    files: dockerfile('RUN echo before && exit 7'),
    job: 'Failed',
    error: ['BuildFailed', /a step of the Dockerfile failed \(exit code 7\)/],
  },
  'no-dockerfile': {
    files: { 'README.md': 'x' },
    job: 'Failed',
    error: ['BuildFailed', /^there is nothing to build: the repository has no file Dockerfile at commit [0-9a-f]{40}$/],
  },
  syntax: { files: dockerfile('RUM true'), job: 'Failed', error: ['BuildFailed', /RUM/i] },
  'no-base': {
    files: { Dockerfile: 'FROM REGISTRY/nothing:1\n' },
    job: 'Failed',
    error: ['RegistryFailed', /a base image cannot be read/],
  },
  'push-refused': { type: 'ci-refused', files: PLAIN, job: 'Failed', error: ['PushFailed', /may not be pushed/] },
  'build-memory': {
    files: dockerfile('RUN dd if=/dev/zero of=/dev/null bs=900M count=2'),
    job: 'Failed',
    error: ['OutOfMemory', /the build was killed \(exit code \d+, OOMKilled\)/],
  },
  hangs: {
    type: 'ci-brief',
    files: PLAIN,
    test: { command: 'echo waiting for a lock; exec sleep 600' },
    job: 'Failed',
    result: { log_tail: 'waiting for a lock', problems: [] },
    error: ['TaskTimedOut', new RegExp(`^the tests took longer than allowed \\(timeoutSeconds: ${BRIEF_S}\\)`)],
  },
  'build-hangs': {
    type: 'ci-brief-build',
    files: dockerfile('RUN echo compiling && sleep 600'),
    job: 'Failed',
    result: { conclusion: 'failure', problems: [] },
    error: [
      'TaskTimedOut',
      new RegExp(`^the build took longer than allowed \\(ci\\.builder\\.timeoutSeconds: ${BRIEF_BUILD_S}\\)`),
    ],
  },
  'test-memory': {
    files: PLAIN,
    test: { command: 'dd if=/dev/zero of=/dev/null bs=400M count=2; exit $?' },
    job: 'Failed',
    result: { conclusion: 'failure', problems: [expect.stringMatching(/^(OutOfMemory|Killed): /)] },
  },
  'kills-its-group': {
    files: PLAIN,
    test: { command: 'sleep 60 & kill -9 0; kill -9 -1; echo still here; exit 137' },
    job: 'Failed',
    result: { conclusion: 'failure', exit_code: 137, problems: [expect.stringMatching(/^Killed: .*by themselves/)] },
  },
  // The kubelet tells the end of the newest file, and looks each 10 s whether it is to begin another.
  'much-log': {
    files: PLAIN,
    test: {
      command:
        'yes 0123456789012345678901234567890123456789 | head -c 200000000; echo; sleep 12; echo the last line; exit 1',
    },
    job: 'Failed',
    result: { conclusion: 'failure', exit_code: 1, log_tail: expect.stringMatching(/the last line$/) },
  },
  'no-shell': {
    files: { Dockerfile: 'FROM base AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /app\n' },
    test: { command: 'make test' },
    job: 'Failed',
    error: [
      'TaskFailed',
      /the tests could not start: .*The image has no shell: give payload\.test\.command as a list/s,
    ],
  },
  'no-such-user': {
    files: dockerfile('USER nobody-there'),
    job: 'Failed',
    error: [
      'TaskFailed',
      /the tests could not start: CreateContainerError: .*; the image names a USER that it does not have$/,
    ],
  },
  'as-a-list': {
    files: { Dockerfile: 'FROM base AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /busybox\n' },
    test: { command: ['/busybox', 'test', '$(CI)', '=', '$(CI)'] },
    job: 'Complete',
    result: { conclusion: 'success', exit_code: 0 },
  },
  'no-program': {
    files: { ...dockerfile('COPY run /run\nRUN chmod 755 /run'), run: 'exit 0\n' },
    test: { command: ['/run'] },
    job: 'Failed',
    result: { conclusion: 'failure', problems: [expect.stringMatching(/^NotExecutable: .*without #!/)] },
  },
  'needs-rights': {
    files: PLAIN,
    test: { command: 'touch x && chown 1000 x' },
    job: 'Failed',
    result: { conclusion: 'failure', problems: [expect.stringMatching(/^RightRefused: .*ci\.test\.user/)] },
  },
  hostile: {
    files: {
      Dockerfile: `FROM base AS tools
FROM REGISTRY/base:26
COPY --from=tools /bin /bin
USER 0
RUN mkdir /rooted && cp /bin/busybox /rooted && chmod 4755 /rooted/busybox
COPY try.sh ask.mjs /
USER 1000
`,
    },
    test: {
      command: '/bin/sh /try.sh > $SLIPWAY_ARTIFACTS/tried.txt 2>&1; cat $SLIPWAY_ARTIFACTS/tried.txt; exit 1',
    },
    job: 'Failed',
    result: { conclusion: 'failure' },
  },
};

/** Each line of its output begins with what was tried; `GOT` stands where that succeeded. */
const TRY = `
try() { what=$1; shift; if out=$("$@" 2>&1); then echo "$what: GOT $out"; else echo "$what: refused $(echo "$out" | tail -n 1 | cut -c 1-50)"; fi; }
try token cat /var/run/secrets/kubernetes.io/serviceaccount/token
try registry cat /kaniko/.docker/config.json
try workspace ls /workspace
try environment sh -c 'env | grep -iE "password|token|secret|AccountKey|connection"'
try others sh -c 'cat /proc/*/environ 2>/dev/null | grep -aiE "AccountKey|GIT_PASSWORD"'
try api-server /nodejs/bin/node /ask.mjs
try sysctl sh -c 'echo x > /proc/sys/kernel/core_pattern'
try sys sh -c 'echo 1 > /sys/kernel/mm/ksm/run'
try disk mknod /tmp/disk b 8 0
try mount mount -t tmpfs none /mnt
try chroot chroot / true
try namespace unshare -m true
try setuid /rooted/busybox sh -c 'test "$(/rooted/busybox id -u)" = 0'
try chown chown 0 /try.sh
try hostname hostname other
try new-privileges sh -c 'grep -q "NoNewPrivs:.0" /proc/self/status'
try capabilities sh -c 'grep Cap /proc/self/status | grep -v 0000000000000000'
`;

/** Asks the API server for the namespace's Secrets. */
const ASK = `process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
const answer = await fetch('SERVER/api/v1/namespaces/ci/secrets', { signal: AbortSignal.timeout(10000) });
console.log('HTTP ' + answer.status);
process.exit(answer.ok ? 0 : 1);
`;

let installation: NodeInstallation;
let node: RealNode;
let git: GitServer;
let refusing: Registry;
let history: JobHistory;
const told = new Map<string, WebhookBody>();
const services = new AsyncDisposableStack();

beforeAll(async () => {
  const [builder, gitImage] = [process.env['SLIPWAY_TEST_BUILDER'] ?? (await builderArchive()), await gitArchive()];
  installation = await installOnNode({
    queues: [QUEUE],
    config: async (started) => {
      node = started;
      git = services.use(await startGitServer(GIT_PASSWORD, node.hostAddress));
      refusing = services.use(await startRegistry({ auth: true, host: node.hostAddress }));
      return configOf(await node.push(builder, 'builder-stand-in:1'), await node.push(gitImage, 'git:1'));
    },
    values: { networkPolicy: { ci: { allow: ['10.0.0.0/8'] } } },
  });
  history = services.use(watchJobHistory(node.kubeconfig, CI));
}, 900_000);

afterAll(async () => {
  try {
    await services.disposeAsync();
  } finally {
    await installation?.[Symbol.asyncDispose]();
  }
}, 120_000);

async function configOf(builder: string, gitImage: string): Promise<object> {
  const { registry } = node;
  await node.kubectl(['create', 'namespace', CI]);
  await node.kubectl(['label', 'namespace', CI, 'pod-security.kubernetes.io/enforce=baseline']);
  const secret = (...args: readonly string[]) => node.kubectl(['-n', CI, 'create', 'secret', ...args]);
  await secret('generic', 'git', '--from-literal=username=ci', `--from-literal=password=${GIT_PASSWORD}`);
  await secret(
    'docker-registry',
    'registry',
    `--docker-server=${registry}`,
    '--docker-username=a',
    '--docker-password=registry-password',
  );
  const storage = await node.get<{ data: Readonly<Record<string, string>> }>('secret/storage', '-n', 'slipway');
  await node.apply({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'storage', namespace: CI },
    data: storage.data,
  });
  const ci = {
    namespace: CI,
    images: `${registry}/ci`,
    registrySecret: 'registry',
    gitImage,
    builder: {
      image: builder,
      insecureRegistries: [registry, refusing.name],
      resources: { cpu: '50m', memory: '512Mi' },
    },
    report: {
      env: [
        {
          name: 'AZURE_STORAGE_CONNECTION_STRING',
          valueFrom: { secretKeyRef: { name: 'storage', key: 'connection-string' } },
        },
      ],
    },
  };
  const type = (changes: object = {}, more: object = {}) => ({
    attempts: 1,
    graceSeconds: 20,
    resources: { cpu: '50m', memory: '256Mi' },
    ...more,
    ci: { ...ci, ...changes },
  });
  return {
    limits: { maxRunning: 6 },
    taskTypes: {
      ci: type({}, { attempts: 2 }),
      'ci-once': type(),
      'ci-twice': type({}, { attempts: 2 }),
      'ci-brief': type({}, { timeoutSeconds: BRIEF_S }),
      'ci-brief-build': type({ builder: { ...ci.builder, timeoutSeconds: BRIEF_BUILD_S } }),
      'ci-private': type({ gitSecret: 'git', gitHosts: [git.url] }),
      'ci-refused': type({ images: `${refusing.name}/ci`, registrySecret: undefined }),
    },
  };
}

/** Puts a case's repository where it can be cloned, and gives its message. */
async function messageOf(name: string, one: Case): Promise<object> {
  const repository = name.startsWith('private') ? `private-${name}` : name;
  const replaced = (text: string) =>
    text.replace(/^FROM base/gm, `FROM ${node.registry}/busybox:1`).replaceAll('REGISTRY', node.registry);
  const files = Object.fromEntries(Object.entries(one.files ?? {}).map(([file, text]) => [file, replaced(text)]));
  const hostile = { 'try.sh': TRY, 'ask.mjs': ASK.replace('SERVER', await server()) };
  const commit =
    one.files === undefined ? '' : await git.commit(repository, { ...files, ...(name === 'hostile' ? hostile : {}) });
  const url = `${git.url}/${repository}.git`;
  const payload = one.payload?.(url, commit) ?? {
    repository: url,
    commit,
    test: one.test ?? { command: 'true' },
    ...one.more,
  };
  return {
    task_id: name,
    // A registry that is slow for once is no reason to fail; what fails for good need not do so twice.
    task_type: one.type ?? (one.error === undefined ? 'ci' : 'ci-once'),
    payload,
    webhook_url: `${installation.sink.url}/${name}`,
  };
}

const server = async () =>
  (await node.kubectl(['config', 'view', '--minify', '-o', 'jsonpath={.clusters[0].cluster.server}'])).trim();
const resultOf = (name: string): CiResult => ciResultSchema.parse(told.get(name)?.result);
const versionsOf = (name: string): readonly JobRecord[] =>
  history.versions.filter(({ labels }) => labels[LABEL.taskId] === name);
const jobOf = async (name: string) => {
  const { items } = await node.get<{ items: RawJob[] }>('jobs', '-n', CI, '-l', `${LABEL.taskId}=${name}`);
  expect(items).toHaveLength(1);
  return items[0] as RawJob;
};

test('all are reported', { timeout: 500_000 }, async () => {
  const messages = await Promise.all(Object.entries(CASES).map(([name, one]) => messageOf(name, one)));
  await installation.queues.put(QUEUE, ...messages);
  await eventually(
    async () => {
      const { items } = await node.get<{ items: RawJob[] }>('jobs', '-n', CI);
      const open = items.filter((job) => job.metadata?.labels?.[LABEL.state] !== 'settled');
      expect(open.map(({ metadata }) => metadata?.labels?.[LABEL.taskId])).toEqual([]);
      expect(items).toHaveLength(messages.length);
    },
    480_000,
    2000,
  );
  console.log(await node.kubectl(['-n', CI, 'get', 'jobs']));
  for (const name of Object.keys(CASES)) {
    const requests = await installation.sink.waitFor(`/${name}`);
    expect(requests, name).toHaveLength(1);
    const body = webhookBodySchema.parse(JSON.parse(requests[0]?.body ?? ''));
    told.set(name, body);
    const { conclusion, exit_code, problems } = ciResultSchema.parse(body.result);
    const words =
      body.error === undefined ? [exit_code, ...problems].join('; ') : `${body.error.code}: ${body.error.message}`;
    console.log(`${name}: ${body.status}, ${conclusion}, ${words.replaceAll(/\s+/g, ' ').slice(0, 400)}`);
  }
  expect((await node.get<{ items: object[] }>('jobs', '-n', 'slipway')).items).toEqual([]);
});

describe('each with what is to be said of it', () => {
  test.each(Object.entries(CASES))('%s', async (name, { result, error, job, attempts }) => {
    const body = told.get(name);
    if (error === undefined) {
      expect(body).toMatchObject({ status: 'completed', result });
      expect(body).not.toHaveProperty('error');
    } else {
      expect(body).toMatchObject({
        status: 'failed',
        error: { code: error[0], message: expect.stringMatching(error[1]) },
        result: { conclusion: 'failure', ...result },
      });
    }
    const { status, metadata } = await jobOf(name);
    expect(status?.conditions?.find(({ type }) => type === 'Complete' || type === 'Failed')?.type).toBe(job);
    const outcome = JSON.parse(metadata?.annotations?.[ANNOTATION.outcome] ?? '{}');
    expect(outcome).toMatchObject({ result: body?.result });
    if (attempts !== undefined) expect(outcome.attempts).toHaveLength(attempts);
  });

  test('a poison copy of those that failed, and of no failing test', async () => {
    const copies = await installation.queues.texts(`${QUEUE}-poison`);
    const poisoned = copies.map((text) => JSON.parse(JSON.parse(text).original).task_id as string);
    const failed = Object.entries(CASES).filter(([, { error }]) => error !== undefined);
    expect(poisoned.toSorted()).toEqual(failed.map(([name]) => name).toSorted());
  });
});

test('commit, image and digest are those of git and the registry', async () => {
  const { commit, image, digest, stage_seconds } = resultOf('passes');
  expect(commit).toBe((await git.git('passes', 'rev-parse', 'HEAD')).trim());
  expect(image).toMatch(new RegExp(`^${node.registry}/ci/acme/passes:acme-ci-[a-z2-7]{12}$`));
  const [repository, tag] = image.replace(`${node.registry}/`, '').split(':');
  const manifest = await fetch(`http://${node.registry}/v2/${repository}/manifests/${tag}`, {
    method: 'HEAD',
    headers: {
      accept: 'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json',
    },
    signal: AbortSignal.timeout(10_000),
  });
  expect(manifest.headers.get('docker-content-digest')).toBe(digest);
  expect(Object.keys(stage_seconds)).toEqual(['clone', 'build', 'test']);
});

test('artifacts and the whole report lie in Blob', async () => {
  const blobs = BlobServiceClient.fromConnectionString(installation.azurite.connectionString);
  const read = async (url = '') => {
    const [container = '', ...path] = url.slice(blobs.url.length).split('/').filter(Boolean).map(decodeURIComponent);
    const blob = blobs.getContainerClient(container).getBlobClient(path.join('/'));
    return (await blob.downloadToBuffer(0, undefined, { abortSignal: AbortSignal.timeout(10_000) })).toString();
  };
  const { artifacts, report_url } = resultOf('passes');
  // What Kubernetes would expand in an argument or a plain value arrives as it is.
  expect(await read(artifacts[0]?.url)).toBe('hello $(CI) $$\n');
  expect(JSON.parse(await read(report_url))).toMatchObject({ tests: { tests: 1 } });
  expect(JSON.parse(await read(resultOf('ten-thousand').report_url)).tests.failures).toHaveLength(10);
});

test('what tests try is refused, and no secret is to be seen', async () => {
  const tried = resultOf('hostile').log_tail?.split('\n') ?? [];
  console.log(tried.join('\n'));
  const names = [...TRY.matchAll(/^try ([a-z-]+) /gm)].map(([, name]) => name);
  expect(names.length).toBeGreaterThan(15);
  expect(tried).toEqual(names.map((name) => expect.stringMatching(`^${name}: refused`)));
  // It was reached: a plain bridge enforces no NetworkPolicy.
  expect(tried).toContainEqual(expect.stringMatching(/^api-server: refused HTTP 40[13]$/));
  const everything = JSON.stringify([...told.values()]);
  for (const secret of [GIT_PASSWORD, 'registry-password', 'AccountKey']) expect(everything).not.toContain(secret);
});

test('no container has a service account’s token, and the tests of a private repository none of its secrets', async () => {
  const { items } = await node.get<{ items: (RawPod & { spec: object })[] }>('pods', '-n', CI);
  expect(items.length).toBeGreaterThan(15);
  for (const pod of items) expect(JSON.stringify(pod.spec)).not.toContain('serviceaccount');
  const { name } = (await jobOf('private')).metadata ?? {};
  const log = await node.kubectl(['-n', CI, 'logs', `job/${name}`, '-c', 'task']);
  expect(log).toContain('SLIPWAY_ARTIFACTS');
  expect(log).not.toContain(GIT_PASSWORD);
});

test('a task is one Job and two further writes, lease renewals apart', () => {
  const written = ({ annotations, labels, ttlSeconds }: JobRecord) => {
    const { [ANNOTATION.popReceipt]: _, [ANNOTATION.leaseUntil]: __, ...rest } = annotations;
    return JSON.stringify([rest, labels, ttlSeconds]);
  };
  for (const name of ['passes', 'fails', 'by-ref']) {
    const versions = versionsOf(name);
    expect(new Set(versions.map(({ uid }) => uid)).size).toBe(1);
    // Made, its outcome recorded, settled.
    expect(new Set(versions.map(written)).size, name).toBe(3);
  }
});

test('slipway why tells the result', async () => {
  const { run } = await import('#/testing/shell.ts');
  const cli = (...args: readonly string[]) =>
    run(process.execPath, ['cli/main.ts', ...args], { env: { KUBECONFIG: node.kubeconfig } });
  const text = await cli('why', '-n', CI, 'ten-thousand');
  console.log(text);
  expect(text).toMatch(/^Result: +failure, 10 of 10000 tests failed, exit code 1$/m);
  expect(text).toMatch(/^Stages: +clone [\d.]+ s, build [\d.]+ s, test [\d.]+ s$/m);
  expect(text).toContain(`in namespace ${CI}`);
  const json = JSON.parse(await cli('why', '-n', CI, 'run-fails', '--json'));
  expect(json).toMatchObject({ diagnosis: { category: 'BuildFailed' }, result: { conclusion: 'failure' } });
});
