import { expect, test } from 'vitest';
import { PERMISSIONS } from '../../operator/permissions.ts';
import { testConfig } from '../../testing/jobs.ts';
import { neededRights } from './needed.ts';

const ACI = 'aci: { subscriptionId: 11111111-1111-4111-8111-111111111111, resourceGroup: g, location: westeurope }\n';

test('what every operator needs, where nothing runs on Azure or the configuration is not known', () => {
  expect(neededRights(undefined)).toBe(PERMISSIONS);
  expect(neededRights(testConfig(`${ACI}taskTypes: { echo: {} }`))).toBe(PERMISSIONS);
});

test('besides, each Secret and ConfigMap that tasks on Azure refer to, once', () => {
  const config = testConfig(
    `${ACI}taskTypes:
  echo: { backend: aci, envFrom: [{ secretRef: { name: a } }, { configMapRef: { name: settings } }] }
  other: { backend: aci, env: [{ name: A, valueFrom: { secretKeyRef: { name: a, key: k } } }] }
  here: { envFrom: [{ secretRef: { name: not-this } }] }
clients: { acme: { envFrom: [{ secretRef: { name: of-acme } }] } }
webhook: { signingSecret: { name: sign, key: k } }`,
  );
  const more = neededRights(config).slice(PERMISSIONS.length);
  expect(more.map(({ verbs, resource, name }) => `${verbs.join()} ${resource} ${name ?? ''}`.trim())).toEqual([
    'patch jobs/status',
    'get secrets a',
    'get secrets of-acme',
    'get secrets sign',
    'get configmaps settings',
  ]);
});
