/** A task type `ci`, as a cluster with a registry and private repositories has it. */
import { type CiBuild, readCiBuild } from '#/operator/ci/payload.ts';
import type { CiPolicy } from '#/operator/ci/pod.ts';
import type { TaskPolicy } from '#/operator/config.ts';
import { testConfig, testPolicy } from '#/testing/jobs.ts';

const CI = {
  namespace: 'ci',
  images: 'registry.example.com/ci',
  registrySecret: 'registry',
  gitSecret: 'git',
  gitHosts: ['git.example.com', 'http://10.0.0.7:8080'],
  builder: { cache: 'registry.example.com/ci/cache' },
  report: {
    env: [{ name: 'AZURE_STORAGE_CONNECTION_STRING', valueFrom: { secretKeyRef: { name: 'storage', key: 'k' } } }],
  },
};

/** The type's policy; `ci` goes over its settings, `more` beside them. */
export function ciPolicy(ci: object = {}, more: object = {}): TaskPolicy & CiPolicy {
  const taskTypes = JSON.stringify({ ci: { ...more, ci: { ...CI, ...ci } } });
  const policy = testPolicy(testConfig(`taskTypes: ${taskTypes}`), 'ci');
  if (policy.ci === undefined) throw new Error('the type is no CI type');
  return { ...policy, ci: policy.ci };
}

/** What a message asks for; `more` goes over its payload. */
export function ciBuild(more: object = {}): CiBuild {
  const least = {
    repository: 'https://git.example.com/acme/app.git',
    commit: '0123456789abcdef0123456789abcdef01234567',
    test: { command: 'make test' },
  };
  const reading = readCiBuild({ ...least, ...more }, 'registry.example.com/ci/acme/', 'abc');
  if (reading.kind === 'invalid') throw new Error(JSON.stringify(reading.problems));
  return reading.build;
}
