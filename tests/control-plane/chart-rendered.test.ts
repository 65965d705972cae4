/** What helm makes of the chart, and what it refuses. */
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ARTEFACTS } from '#/build/generate.ts';
import { findHelm } from '#/build/helm.ts';
import { parseConfig } from '#/operator/config.ts';
import {
  CHART,
  configOf,
  containerOf,
  DOCUMENTS,
  EXAMPLE,
  envOf,
  helm,
  notes,
  ON_AZURE,
  only,
  pathOf,
  podOf,
  refusal,
  render,
} from './chart.ts';

interface CronJobSpec {
  readonly schedule: string;
  readonly concurrencyPolicy: string;
  readonly suspend: boolean;
  readonly jobTemplate: {
    readonly spec: {
      readonly template: {
        readonly spec: {
          readonly restartPolicy: string;
          readonly containers: readonly [{ readonly args: readonly string[] }];
        };
      };
    };
  };
}

describe('helm', () => {
  test.each([
    ['the example', EXAMPLE],
    ['its own values', []],
    ['the example for Azure', ON_AZURE],
    ['the example for documents', DOCUMENTS],
  ])('lint --strict passes with %s', async (_, values) => {
    expect(await helm(['lint', '--strict', CHART, ...values])).toContain('0 chart(s) failed');
  });

  test('manifests/ is what the chart renders (npm run generate)', async () => {
    for (const { path: file, make } of ARTEFACTS) {
      expect(await readFile(pathOf(file), 'utf8'), file).toBe(await make(await findHelm()));
    }
  });
});

describe('refused in a sentence', () => {
  test.each([
    ['config.backend=aci', 'config.aci is not set, and tasks are to run on Azure Container Instances'],
    [
      'image.repository=',
      'image.repository is not set: there is no public image of the operator. Build Dockerfile.operator',
    ],
    [
      'image.repository=r.example.com/a:1',
      'image.repository = r.example.com/a:1: ends in a tag or a digest. Set image.repository to the name alone',
    ],
    ['image.repository=a@sha256:00', 'image.repository = a@sha256:00: ends in a tag or a digest'],
    [
      'storage.existingSecret=',
      'storage.existingSecret is not set: the operator cannot reach a queue. Create a Secret with the key connection-string in the namespace default',
    ],
    [
      'config.queues=[]',
      'config.queues is empty and config.discovery is not set: there is nothing to do. Name at least one queue',
    ],
    [
      'config.runner.image=',
      'config.runner.image is not set: there is no public image of the runner. Build Dockerfile.runner',
    ],
    [
      'config.taskTypes.echo=null,config.taskTypes.document-processing=null',
      'config.taskTypes is empty: every message would be poisoned',
    ],
    [
      'storage.taskTypes={echo,ecco}',
      'storage.taskTypes names ecco, which config.taskTypes does not have. Add it there',
    ],
    [
      'serviceAccount.create=false',
      "serviceAccount.create is false and serviceAccount.name is not set: the operator's rights would go to the default account",
    ],
  ])('%s', async (setting, sentence) => {
    const args = [...EXAMPLE, setting.endsWith('[]') ? '--set-json' : '--set', setting];
    expect(await refusal(args)).toContain(sentence);
    expect(await refusal([...args, '--skip-schema-validation'])).toContain(sentence);
  });

  test('everything at once', async () => {
    const said = await refusal([]);
    expect(said).toContain('The values have 4 problems:');
    for (const value of ['image.repository', 'storage.existingSecret', 'config.queues', 'config.runner.image'])
      expect(said).toContain(`  - ${value} `);
  });
});

describe('refused by the schema, with place and reason', () => {
  test.each([
    ['config.maxRuning=3', "at '/config': additional properties 'maxRuning' not allowed"],
    ['replica=1', "at '': additional properties 'replica' not allowed"],
    ['config.taskTypes.echo.timout=3', "at '/config/taskTypes/echo': additional properties 'timout' not allowed"],
    ['config.limits.maxRunning=0', "at '/config/limits/maxRunning': minimum: got 0, want 1"],
    ['config.backend=vm', "at '/config/backend': value must be one of 'kubernetes', 'aci'"],
    ['storage.access=key', "at '/storage/access': value must be one of 'connection-string', 'sas-url'"],
    ['image=null', "at '': missing property 'image'"],
    ['config.defaults.resources.cpu=2', "at '/config/defaults/resources/cpu': got number, want string"],
  ])('%s', async (setting, message) => {
    expect(await refusal([...EXAMPLE, '--set', setting])).toContain(message);
  });
});

describe('rendered', () => {
  test('the example: every object in the namespace of the release, with the recommended labels', async () => {
    const objects = await render();
    expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`).sort()).toEqual([
      'ConfigMap slipway',
      'Deployment slipway',
      'NetworkPolicy slipway',
      'NetworkPolicy slipway-tasks',
      'Role slipway',
      'RoleBinding slipway',
      'ServiceAccount slipway',
    ]);
    for (const { metadata } of objects) {
      expect(metadata.namespace).toBe('jobs');
      expect(metadata.labels).toMatchObject({
        'app.kubernetes.io/name': 'slipway',
        'app.kubernetes.io/instance': 'slipway',
        'app.kubernetes.io/managed-by': 'Helm',
      });
    }
  });

  test('the configuration is what the operator reads, whatever YAML makes of it on the way', async () => {
    const values = {
      queues: [{ name: 'acme-tasks' }, { name: '0o14', client: '1e3', encoding: 'base64' }],
      lease: { renewSeconds: 604_800 },
      ttl: { failedSeconds: 2_592_000 },
      taskTypes: {
        echo: null,
        yes: {
          image: 'r.example.com/y:1',
          command: ['0o14', 'no', '~', 'a: b # c', "it's", '$(HOME)', '{{ .Values }}', 'zwei\nZeilen\t', 'ä😀'],
          podTemplate: {
            spec: { securityContext: null, hostNetwork: false, tolerations: [{ tolerationSeconds: 30 }] },
          },
        },
      },
    };
    const settings = Object.entries(values).map(([key, value]) => `config.${key}=${JSON.stringify(value)}`);
    const config = configOf(await render(settings.flatMap((setting) => ['--set-json', setting])));
    const { file } = parseConfig(config, {
      AZURE_STORAGE_CONNECTION_STRING: 'UseDevelopmentStorage=true',
      SLIPWAY_NAMESPACE: 'jobs',
    });
    expect(file).toMatchObject({ queues: values.queues, lease: values.lease, ttl: values.ttl });
    expect(file.taskTypes['yes']).toMatchObject(values.taskTypes.yes);
    expect(Object.keys(file.taskTypes).sort()).toEqual(['document-processing', 'yes']);
  });

  test('a change of the configuration is for the pod that runs; one of the identity, or of its environment, needs another', async () => {
    const [before, same, changed, identity, secret] = await Promise.all([
      render(),
      render(['--set', 'serviceAccount.annotations.a=b']),
      render(['--set', 'config.limits.maxRunning=5,config.receiving=false']),
      render(['--set', 'config.installation=other']),
      render(['--set', 'config.webhook.signingSecret.name=a,config.webhook.signingSecret.key=b']),
    ]);
    expect(podOf(same)).toEqual(podOf(before));
    expect(podOf(changed)).toEqual(podOf(before));
    expect(podOf(identity)).not.toEqual(podOf(before));
    expect(podOf(secret)).not.toEqual(podOf(before));
  });

  test('two replicas are spread over nodes, and a drain takes one at a time', async () => {
    const objects = await render(['--set', 'replicas=2']);
    const { selector } = only(objects, 'Deployment').spec as unknown as { readonly selector: object };
    expect(only(objects, 'PodDisruptionBudget').spec).toEqual({ maxUnavailable: 1, selector });
    expect(podOf(objects).spec).toMatchObject({ topologySpreadConstraints: [{ labelSelector: selector }] });
    expect((await render()).map(({ kind }) => kind)).not.toContain('PodDisruptionBudget');
  });

  test('scaled to zero, a CronJob with the same pod takes the place of the Deployment', async () => {
    const objects = await render(['--set', 'scaleToZero.schedule=*/5 * * * *,scaleToZero.leaseSeconds=1200']);
    expect(objects.map(({ kind }) => kind)).not.toContain('Deployment');
    const { schedule, concurrencyPolicy, suspend, jobTemplate } = only(objects, 'CronJob')
      .spec as unknown as CronJobSpec;
    expect({ schedule, concurrencyPolicy, suspend }).toEqual({
      schedule: '*/5 * * * *',
      concurrencyPolicy: 'Forbid',
      suspend: false,
    });
    const { restartPolicy, containers, ...rest } = jobTemplate.spec.template.spec;
    const [{ args, ...container }] = containers;
    expect([restartPolicy, args]).toEqual(['Never', ['--once', '--lease-seconds=1200']]);
    const { containers: usual, ...pod } = podOf(await render()).spec;
    const [first] = usual;
    const { readinessProbe: _, ...operator } = { readinessProbe: {}, ...first };
    expect([rest, container]).toEqual([pod, operator]);
  });

  test('storage by connection string: the operator and document-processing get it, by reference', async () => {
    const objects = await render();
    const reference = { secretKeyRef: { name: 'slipway-storage', key: 'connection-string' } };
    const variable = { name: 'AZURE_STORAGE_CONNECTION_STRING', valueFrom: reference };
    expect(envOf(objects, 'AZURE_STORAGE_CONNECTION_STRING')).toEqual(variable);
    expect(envOf(objects, 'AZURE_STORAGE_SAS_URL')).toBeUndefined();
    expect(parse(configOf(objects)).taskTypes).toEqual({ echo: {}, 'document-processing': { env: [variable] } });
  });

  test('storage by SAS: the operator alone gets it', async () => {
    const objects = await render(['--set', 'storage.access=sas-url']);
    expect(envOf(objects, 'AZURE_STORAGE_CONNECTION_STRING')).toBeUndefined();
    expect(envOf(objects, 'AZURE_STORAGE_SAS_URL')).toEqual({
      name: 'AZURE_STORAGE_SAS_URL',
      valueFrom: { secretKeyRef: { name: 'slipway-storage', key: 'sas-url' } },
    });
    expect(parse(configOf(objects)).taskTypes).toEqual({ echo: {}, 'document-processing': {} });
  });

  test('a type keeps its own connection string and its other variables', async () => {
    const own = { name: 'AZURE_STORAGE_CONNECTION_STRING', valueFrom: { secretKeyRef: { name: 'blobs', key: 'c' } } };
    const other = { name: 'LANG', value: 'de' };
    const types = { 'document-processing': { env: [own] }, echo: { env: [other] } };
    const objects = await render([
      '--set-json',
      `config.taskTypes=${JSON.stringify(types)}`,
      '--set',
      'storage.key=k,storage.taskTypes={document-processing,echo}',
    ]);
    const shared = { ...own, valueFrom: { secretKeyRef: { name: 'slipway-storage', key: 'k' } } };
    expect(parse(configOf(objects)).taskTypes).toEqual({
      'document-processing': { env: [own] },
      echo: { env: [other, shared] },
    });
  });

  test('no type gets storage that is not meant to', async () => {
    const objects = await render(['--set-json', 'storage.taskTypes=[]']);
    expect(parse(configOf(objects)).taskTypes).toEqual({ echo: {}, 'document-processing': {} });
  });

  test('the webhook secret is there when one is configured', async () => {
    expect(envOf(await render(), 'SLIPWAY_WEBHOOK_SECRET')).toBeUndefined();
    const secret = 'config.webhook.signingSecret';
    const objects = await render(['--set', `${secret}.name=hooks,${secret}.key=current`]);
    expect(envOf(objects, 'SLIPWAY_WEBHOOK_SECRET')).toEqual({
      name: 'SLIPWAY_WEBHOOK_SECRET',
      valueFrom: { secretKeyRef: { name: 'hooks', key: 'current' } },
    });
  });

  test('an existing service account is used, and bound, and not made', async () => {
    const objects = await render(['--set', 'serviceAccount.create=false,serviceAccount.name=theirs']);
    expect(objects.filter(({ kind }) => kind === 'ServiceAccount')).toEqual([]);
    expect(podOf(objects).spec.serviceAccountName).toBe('theirs');
    expect(only(objects, 'RoleBinding')).toMatchObject({ subjects: [{ name: 'theirs', namespace: 'jobs' }] });
  });

  test('a service account of the chart can have a name and annotations', async () => {
    const objects = await render(['--set', 'serviceAccount.name=mine,serviceAccount.annotations.a=b']);
    expect(only(objects, 'ServiceAccount').metadata).toMatchObject({ name: 'mine', annotations: { a: 'b' } });
    expect(podOf(objects).spec.serviceAccountName).toBe('mine');
  });

  test('what the pod is given reaches it', async () => {
    const objects = await render([
      '--set',
      'image.tag=2@sha256:'.padEnd(83, 'a'),
      '--set-json',
      `image.pullPolicy="Always"`,
      '--set-json',
      'imagePullSecrets=[{"name":"registry"}]',
      '--set-json',
      'podLabels={"team":"a","app.kubernetes.io/component":"task"}',
      '--set-json',
      'podAnnotations={"prometheus.io/scrape":"true","checksum/installation":"mine"}',
      '--set-json',
      'nodeSelector={"disk":"ssd"}',
      '--set-json',
      'tolerations=[{"key":"a","operator":"Exists"}]',
      '--set-json',
      'affinity={"nodeAffinity":{}}',
      '--set-json',
      'resources={"requests":null,"limits":{"memory":"1Gi"}}',
    ]);
    const { metadata, spec } = podOf(objects);
    expect(containerOf(objects)).toMatchObject({
      image: 'registry.example.com/slipway-operator:2@sha256:'.padEnd(111, 'a'),
      imagePullPolicy: 'Always',
      resources: { limits: { memory: '1Gi' } },
    });
    expect(spec).toMatchObject({
      imagePullSecrets: [{ name: 'registry' }],
      nodeSelector: { disk: 'ssd' },
      tolerations: [{ key: 'a', operator: 'Exists' }],
      affinity: { nodeAffinity: {} },
    });
    // What the chart itself needs is not overwritten: the selector would match no pod, and a changed configuration restart nothing.
    expect(metadata).toMatchObject({
      labels: { team: 'a', 'app.kubernetes.io/component': 'operator' },
      annotations: { 'prometheus.io/scrape': 'true', 'checksum/installation': expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
  });

  test('without network policies', async () => {
    const objects = await render(['--set', 'networkPolicy.enabled=false']);
    expect(objects.filter(({ kind }) => kind === 'NetworkPolicy')).toEqual([]);
  });

  test("replicas 0 and a parent chart's global values are accepted", async () => {
    const objects = await render(['--set', 'replicas=0,global.a=b']);
    expect(only(objects, 'Deployment').spec).toMatchObject({ replicas: 0 });
  });

  test.each([
    ['slipway', 'slipway'],
    ['my-slipway-2', 'my-slipway-2'],
    ['prod', 'prod-slipway'],
    ['x'.repeat(53), `${'x'.repeat(53)}-sli`],
    [`${'x'.repeat(48)}-eu`, `${'x'.repeat(48)}-eu-slipw`],
  ])('release %s: no name passes 63 characters', async (release, name) => {
    const objects = await render([], release);
    expect(only(objects, 'Deployment').metadata.name).toBe(name);
    for (const { metadata } of objects) expect(metadata.name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
    const names = objects.map((object) => `${object.kind} ${object.metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('notes', () => {
  test('say what was installed and what to do next, without a value of a secret', async () => {
    const said = await notes([], 'prod');
    expect(said).toContain('in the namespace jobs and runs each message of these queues as one Job: acme-tasks');
    expect(said).toContain('kubectl -n jobs rollout status deployment/prod-slipway');
    expect(said).toContain('az storage message put --queue-name acme-tasks');
    expect(said).toContain(`-o go-template='{{ index .data "connection-string" | base64decode }}'`);
    expect(said).toContain('kubectl -n jobs get jobs -l app.kubernetes.io/managed-by=slipway -w');
    const message: unknown = JSON.parse(/--content '(.*)'/.exec(said)?.[1] ?? '');
    expect(message).toEqual({ task_id: 'first-task', task_type: 'echo', payload: { hello: 'world' } });
  });

  test('name a type that there is', async () => {
    expect(await notes(['--set', 'config.taskTypes.echo=null'])).toContain('"task_type":"document-processing"');
  });

  test('a SAS needs the account', async () => {
    expect(await notes(['--set', 'storage.access=sas-url'])).toContain(
      '--account-name NAME-OF-YOUR-ACCOUNT --auth-mode login',
    );
  });

  test.each([
    ['replicas=0', 'replicas is 0: no message is received'],
    ['config.queues[0].name=acme-tasks', 'config.webhook.signingSecret is not set: webhooks are unsigned'],
    ['config.webhook.allow={10.1.0.0/16,0.0.0.0/0}', 'config.webhook.allow has 0.0.0.0/0: whoever can write a message'],
    [
      'config.runner.image=localhost:5000/runner',
      'config.runner.image = localhost:5000/runner has neither tag nor digest',
    ],
    ['config.runner.image=r.example.com/runner:latest', 'Use a fixed tag or a digest'],
    ['storage.access=sas-url', 'tasks of type document-processing get no connection string'],
    [
      'networkPolicy.enabled=false',
      'networkPolicy.enabled is false: every pod of the cluster can reach the ports of tasks',
    ],
  ])('warn of %s', async (setting, warning) => {
    expect(await notes(['--set', setting])).toMatch(new RegExp(`^Warning: .*${RegExp.escape(warning)}`, 'm'));
  });

  test('warn of nothing where nothing is risky', async () => {
    const secret = 'config.webhook.signingSecret';
    expect(await notes(['--set', `${secret}.name=hooks,${secret}.key=current`])).not.toContain('Warning');
  });
});

describe('tasks on Azure', () => {
  test('the example is a configuration that the operator takes', async () => {
    const config = parseConfig(configOf(await render(ON_AZURE)), {
      AZURE_STORAGE_CONNECTION_STRING: 'UseDevelopmentStorage=true',
      SLIPWAY_NAMESPACE: 'slipway',
    });
    expect([...config.policies.values()].map(({ type, backend }) => [type, backend])).toEqual([
      ['document-processing', 'aci'],
      ['echo', 'aci'],
      ['migrate', 'kubernetes'],
      ['render', 'aci'],
    ]);
  });

  test('without any, nothing of Azure is rendered', async () => {
    const text = JSON.stringify(await render([]));
    expect(text).not.toMatch(/azure\.workload|SLIPWAY_WORKLOAD|jobs\/status|remove-groups/);
  });

  test('the operator has its identity, and who uninstalls runs the same image under it', async () => {
    const objects = await render(ON_AZURE);
    const hook = objects.find(({ metadata }) => metadata.name.endsWith('-remove-groups'));
    expect(hook).toMatchObject({
      kind: 'Job',
      metadata: { annotations: { 'helm.sh/hook': 'pre-delete' } },
      spec: {
        template: {
          metadata: { labels: { 'azure.workload.identity/use': 'true' } },
          spec: { serviceAccountName: 'slipway', containers: [{ args: ['--remove-groups'] }] },
        },
      },
    });
    expect(JSON.stringify(podOf(objects).metadata)).toContain('azure.workload.identity/use');
    expect(envOf(objects, 'SLIPWAY_WORKLOAD')).toMatchObject({ value: 'deployments/slipway' });
  });

  test('the names of Secrets come from wherever the configuration names them, and none is all of them', async () => {
    const rules = async (...args: string[]) => {
      const role = (await render([...ON_AZURE, ...args])).find(({ kind }) => kind === 'Role');
      return (role as unknown as { rules: { resources: string[]; resourceNames?: string[] }[] }).rules;
    };
    const names = (all: Awaited<ReturnType<typeof rules>>, resource: string) =>
      all.find(({ resources }) => resources.includes(resource))?.resourceNames;
    const all = await rules(
      '--set-json',
      'config.clients={"acme":{"envFrom":[{"secretRef":{"name":"of-acme"}},{"configMapRef":{"name":"settings"}}]}}',
      '--set-json',
      'config.taskTypes.echo={"env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"of-echo","key":"a"}}}]}',
      '--set',
      'config.runner.imagePullSecrets={pull},config.webhook.signingSecret.name=sign,config.webhook.signingSecret.key=k,azure.secrets={more}',
    );
    expect(names(all, 'secrets')).toEqual(['more', 'of-acme', 'of-echo', 'openai', 'pull', 'sign', 'slipway-storage']);
    expect(names(all, 'configmaps')).toEqual(['settings']);
    const few = await rules(
      '--set',
      'storage.access=sas-url',
      '--set-json',
      'config.taskTypes.document-processing={"envFrom":[]}',
    );
    expect(few.filter(({ resources }) => resources.includes('secrets'))).toEqual([]);
  });
});
