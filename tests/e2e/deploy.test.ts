/** The script of the workflow that deploys, on a real node: a release becomes one whose images are named by digests, or stays what it was. */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { LABEL } from '#/contract/identity.ts';
import type { RawJob } from '#/operator/jobs/records.ts';
import { binDirectory } from '#/testing/binaries.ts';
import { eventually } from '#/testing/eventually.ts';
import { installOnNode, type NodeInstallation } from '#/testing/node-installation.ts';
import { attempt, run } from '#/testing/shell.ts';

const QUEUE = 'acme-tasks';
const COMMIT = 'c'.repeat(40);

let installation: NodeInstallation;
let env: Record<string, string>;

beforeAll(async () => {
  installation = await installOnNode({ queues: [QUEUE], config: () => ({}) });
  const { registry, kubeconfig, hostAddress } = installation.node;
  const values = {
    storage: { existingSecret: 'storage' },
    config: { queues: [{ name: QUEUE }], webhook: { allow: [hostAddress] } },
  };
  const digestOf = async (name: string) =>
    (
      await run('skopeo', [
        'inspect',
        '--tls-verify=false',
        '--format',
        '{{.Digest}}',
        `docker://${registry}/${name}:test`,
      ])
    ).trim();
  env = {
    PATH: `${binDirectory}:${process.env['PATH']}`,
    KUBECONFIG: kubeconfig,
    CHART: fileURLToPath(import.meta.resolve('#/charts/slipway/Chart.yaml')).replace(/\/Chart\.yaml$/, ''),
    CHART_VERSION: '',
    NAMESPACE: installation.namespace,
    VALUES: stringify(values),
    ACR_REGISTRY: registry,
    COMMIT,
    OPERATOR_DIGEST: await digestOf('slipway-operator'),
    RUNNER_DIGEST: await digestOf('slipway-runner'),
    TIMEOUT: '2m',
  };
}, 900_000);
afterAll(() => installation?.[Symbol.asyncDispose]());

const deploy = (more: Record<string, string> = {}) =>
  attempt(fileURLToPath(import.meta.resolve('#/scripts/ci/deploy')), [], {
    cwd: dirname(fileURLToPath(import.meta.resolve('#/package.json'))),
    env: { ...env, ...more },
    timeoutMs: 300_000,
  });
const imageOf = async (what: string) =>
  installation.kubectl('get', what, '-o', 'jsonpath={.spec.template.spec.containers[0].image}');

test('the operator runs from its digest, looks at its installation and finds no problem; so do tasks', async () => {
  const { code, stdout, stderr } = await deploy();
  expect([code, stderr, stdout]).toEqual([0, expect.any(String), expect.stringMatching(/^OK .*storage/m)]);
  expect(stdout).not.toMatch(/^PROBLEM/m);
  const { registry } = installation.node;
  expect(await imageOf('deployment/slipway')).toBe(`${registry}/slipway-operator:${COMMIT}@${env['OPERATOR_DIGEST']}`);

  await installation.queues.put(QUEUE, JSON.stringify({ task_id: '1', task_type: 'echo', payload: { text: 'hello' } }));
  await eventually(async () => {
    const list = await installation.node.get<{ items: RawJob[] }>(
      'jobs',
      '-n',
      installation.namespace,
      '-l',
      LABEL.state,
    );
    expect(list.items.map(({ status }) => status?.succeeded)).toEqual([1]);
    const [job] = list.items;
    expect(await imageOf(`job/${job?.metadata?.name}`)).toBe(
      `${registry}/slipway-runner:${COMMIT}@${env['RUNNER_DIGEST']}`,
    );
  }, 60_000);
});

test('an image that is not there fails, and the release goes back to what it was', async () => {
  const before = await imageOf('deployment/slipway');
  const { code, stderr } = await deploy({ OPERATOR_DIGEST: `sha256:${'0'.repeat(64)}`, TIMEOUT: '20s' });
  expect([code, stderr]).toEqual([1, expect.stringMatching(/roll(ed)? ?back/i)]);
  expect(await imageOf('deployment/slipway')).toBe(before);
  await installation.kubectl('rollout', 'status', 'deployment/slipway', '--timeout', '60s');
});

test('a first installation with an image that is not there is removed', async () => {
  const { code } = await deploy({ NAMESPACE: 'first', OPERATOR_DIGEST: `sha256:${'0'.repeat(64)}`, TIMEOUT: '10s' });
  expect(code).toBe(1);
  expect(await installation.node.helm(['list', '--short', '-n', 'first'])).toBe('');
  expect(await installation.node.helm(['list', '--short', '-n', installation.namespace])).toBe('slipway\n');
  await eventually(async () =>
    expect(await installation.node.kubectl(['get', 'deployments', '-n', 'first', '-o', 'name'])).toBe(''),
  );
});

test.each([
  [{ COMMIT: 'main' }, 'commit = "main"'],
  [{ OPERATOR_DIGEST: 'latest' }, 'digest = "latest"'],
  [{ RUNNER_DIGEST: '' }, 'digest = ""'],
  [{ VALUES: '' }, 'DEPLOY_VALUES is not set'],
])('%j is refused', async (wrong, words) => {
  const { code, stdout } = await deploy(wrong);
  expect(code).toBe(1);
  expect(stdout).toContain(`::error::`);
  expect(stdout).toContain(words);
});
