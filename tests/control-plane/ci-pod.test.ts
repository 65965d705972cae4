/** The pod of a CI task before a real API server: Pod Security takes it under `baseline`, and refuses what a task must not have. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ciAnnotations, ciLabels, ciPod } from '#/operator/ci/pod.ts';
import { ciBuild, ciPolicy } from '#/testing/ci-policy.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';

let cluster: ControlPlane;
beforeAll(async () => {
  cluster = await startControlPlane();
  for (const level of ['baseline', 'restricted']) {
    await cluster.kubectl(['create', 'namespace', level]);
    await cluster.kubectl(['label', 'namespace', level, `pod-security.kubernetes.io/enforce=${level}`]);
  }
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

function pod(change: (spec: ReturnType<typeof ciPod>) => object = (spec) => spec): string {
  const { task, image } = ciBuild({
    test: { command: 'make test', env: { A: '1' } },
    build_args: { VERSION: '$(A)' },
  });
  const policy = ciPolicy();
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'ci', labels: ciLabels(policy), annotations: ciAnnotations(task, policy) },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      ...change(ciPod(task, image, 'acme', policy)),
    },
  });
}

const create = (namespace: string, input: string) =>
  cluster.kubectl(['-n', namespace, 'create', '--dry-run=server', '--validate=strict', '-o', 'name', '-f', '-'], {
    input,
  });

test('is taken under baseline, each field by strict validation', async () => {
  expect((await create('baseline', pod())).trim()).toBe('pod/ci');
});

test('is refused under restricted, for the builder and for the tests’ own user alone', async () => {
  const refused = await create('restricted', pod()).then(
    () => '',
    (error: Error) => error.message,
  );
  expect(refused).toContain('violates PodSecurity "restricted:latest"');
  expect(refused).toMatch(/container "build" must set|containers? .*"build"/);
  expect(refused).not.toMatch(/"clone"|"report"/);
});

test.each<[string, (spec: ReturnType<typeof ciPod>) => object]>([
  [
    'a privileged builder',
    (spec) => ({
      ...spec,
      initContainers: spec.initContainers.map((one) => ({ ...one, securityContext: { privileged: true } })),
    }),
  ],
  [
    'a folder of the node',
    (spec) => ({ ...spec, volumes: [...spec.volumes, { name: 'host', hostPath: { path: '/' } }] }),
  ],
  ['the node’s network', (spec) => ({ ...spec, hostNetwork: true })],
])('with %s it would be refused', async (_, change) => {
  await expect(create('baseline', pod(change))).rejects.toThrow('violates PodSecurity "baseline:latest"');
});
