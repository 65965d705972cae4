/** Settings of CI tasks, as a cluster with a registry and private repositories has them. */
import type { CiSettings } from '#/operator/ci/pod.ts';

const resources = { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '128Mi' } };

export const CI_SETTINGS: CiSettings = {
  gitImage: 'registry.example.com/git:1',
  builderImage: 'ghcr.io/osscontainertools/kaniko:v1.28.3',
  runnerImage: 'registry.example.com/runner:1',
  registrySecret: 'registry',
  gitSecret: 'git',
  cache: 'registry.example.com/ci/cache',
  insecureRegistries: [],
  builderFlags: [],
  testUser: 'image',
  resources: { clone: resources, build: resources, test: resources, report: resources },
  reportEnv: [{ name: 'AZURE_STORAGE_CONNECTION_STRING', valueFrom: { secretKeyRef: { name: 'storage', key: 'k' } } }],
};
