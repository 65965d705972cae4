import { expect, test } from 'vitest';
import { type EnvSources, environmentOf, expand } from './env.ts';
import type { Container, LocalPod } from './objects.ts';

const vars = new Map([
  ['NAME', 'value'],
  ['SECRET', 'top secret'],
  ['a$(b', 'odd'],
]);

test.each([
  ['plain', 'plain'],
  ['$(NAME)', 'value'],
  ['a $(NAME) b$(NAME)', 'a value bvalue'],
  ['$$(NAME)', '$(NAME)'],
  ['$$$(NAME)', '$value'],
  ['$$$$(NAME)', '$$(NAME)'],
  ['$(UNKNOWN)', '$(UNKNOWN)'],
  ['$(NAME', '$(NAME'],
  ['$($$', '$($'],
  ['$()', '$()'],
  ['$NAME', '$NAME'],
  ['100$', '100$'],
  ['$(a$(b)', 'odd'],
  ['$(SECRET) $(NAME)', 'top secret value'],
])('expands %j to %j, as Kubernetes does', (text, expanded) => {
  expect(expand(text, vars)).toBe(expanded);
});

const pod = {
  metadata: {
    name: 'pod',
    namespace: 'ns',
    uid: 'u',
    labels: { l: 'label' },
    annotations: { 'slipway.dev/task-data': '{"a":"$(SECRET) $$ $(NAME)"}' },
  },
} as unknown as LocalPod;

function environment(container: Partial<Container>, sources: EnvSources = {}): Record<string, string> {
  return environmentOf(
    { name: 'task', image: 'x', command: [], args: [], env: [], envFrom: [], ...container },
    pod,
    sources,
  );
}

const secretRef = (name: string, key: string, optional = false) => ({
  name: 'VALUE',
  value: '',
  valueFrom: { secretKeyRef: { name, key, optional } },
});

test('a value by reference is not expanded, whatever it names', () => {
  const fieldPath = "metadata.annotations['slipway.dev/task-data']";
  const env = environment(
    {
      env: [
        secretRef('s', 'k'),
        { name: 'TASK_DATA', value: '', valueFrom: { fieldRef: { fieldPath } } },
        { name: 'LABEL', value: '', valueFrom: { fieldRef: { fieldPath: "metadata.labels['l']" } } },
        { name: 'POD', value: '', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      ],
    },
    { secrets: { s: { k: 'top $(secret)' } } },
  );
  expect(env).toEqual({
    VALUE: 'top $(secret)',
    TASK_DATA: '{"a":"$(SECRET) $$ $(NAME)"}',
    LABEL: 'label',
    POD: 'pod',
  });
});

test('plain values refer to those before them, and to those of envFrom; the last of a name wins', () => {
  const env = environment(
    {
      envFrom: [
        { prefix: 'P_', secretRef: { name: 's', optional: false } },
        { prefix: '', configMapRef: { name: 'c', optional: false } },
      ],
      env: [
        { name: 'EARLY', value: '$(LATE)' },
        { name: 'LATE', value: 'late' },
        { name: 'BOTH', value: '$(P_KEY) $(LATE) $(MAP)' },
        { name: 'MAP', value: 'own' },
      ],
    },
    { secrets: { s: { KEY: 'secret' } }, configMaps: { c: { MAP: 'map' } } },
  );
  expect(env).toEqual({ P_KEY: 'secret', EARLY: '$(LATE)', LATE: 'late', BOTH: 'secret late map', MAP: 'own' });
});

test.each([
  ['no such Secret', { env: [secretRef('none', 'k')] }, 'secret "none" not found'],
  ['no such key', { env: [secretRef('s', 'none')] }, "couldn't find key none in Secret ns/s"],
  [
    'no such envFrom',
    { envFrom: [{ prefix: '', configMapRef: { name: 'none', optional: false } }] },
    'configmap "none"',
  ],
])('%s: the container cannot be made', (_, container, message) => {
  expect(() => environment(container, { secrets: { s: { k: 'v' } } })).toThrow(message);
});

test('what is optional may be missing', () => {
  const env = [secretRef('none', 'k', true), secretRef('s', 'none', true)];
  const envFrom = [{ prefix: '', secretRef: { name: 'none', optional: true } }];
  expect(environment({ env, envFrom }, { secrets: { s: {} } })).toEqual({});
});
