import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { CHART_DEFAULTS, configOfValues, isChartValues } from './chart-values.ts';

const values = (config: object, storage?: object) => configOfValues({ config, ...(storage ? { storage } : {}) });
const entry = (name: string, key = 'connection-string') => ({
  name: 'AZURE_STORAGE_CONNECTION_STRING',
  valueFrom: { secretKeyRef: { name, key } },
});

test("what stands here as the chart's defaults is what values.yaml has", () => {
  const file = parse(readFileSync(new URL('../charts/slipway/values.yaml', import.meta.url), 'utf8')) as {
    config: { taskTypes: unknown };
    storage: unknown;
  };
  expect(CHART_DEFAULTS).toEqual({ taskTypes: file.config.taskTypes, storage: file.storage });
});

test('a configuration file is none of values', () => {
  expect(isChartValues({ config: {} })).toBe(true);
  for (const raw of [{ queues: [] }, [], null, 'config']) expect(isChartValues(raw)).toBe(false);
});

test('types of the chart are there unless they are taken away, and get the connection string', () => {
  expect(values({}, { existingSecret: 'store' })).toEqual({
    taskTypes: { echo: {}, 'document-processing': { env: [entry('store')] } },
  });
  expect(
    values(
      { taskTypes: { echo: null, mine: { attempts: 2 } } },
      { existingSecret: 's', key: 'k', taskTypes: ['mine'] },
    ),
  ).toEqual({
    taskTypes: { 'document-processing': {}, mine: { attempts: 2, env: [entry('s', 'k')] } },
  });
});

test('a type that names the variable itself keeps its own, and a SAS gives none', () => {
  const own = { taskTypes: { 'document-processing': { env: [entry('own')] } } };
  expect(values(own, { existingSecret: 'store' })).toEqual({ taskTypes: { echo: {}, ...own.taskTypes } });
  expect(values({}, { existingSecret: 'store', access: 'sas-url' })).toEqual({
    taskTypes: { echo: {}, 'document-processing': {} },
  });
});

test('a CI type gets the connection string for its reporter alone, and the account of the chart where it names none', () => {
  const env = [{ name: 'A', value: 'b' }];
  const types = {
    ci: { env, ci: { images: 'r.example.com/ci' } },
    own: { serviceAccountName: 'mine', ci: { images: 'r.example.com/ci', report: { env: [entry('own')] } } },
    without: { ci: { images: 'r.example.com/ci' } },
  };
  expect(values({ taskTypes: types }, { existingSecret: 'store', taskTypes: ['ci', 'own'] })).toEqual({
    taskTypes: {
      echo: {},
      'document-processing': {},
      ci: {
        env,
        serviceAccountName: 'slipway-ci',
        ci: { images: 'r.example.com/ci', report: { env: [entry('store')] } },
      },
      own: types.own,
      without: { ...types.without, serviceAccountName: 'slipway-ci' },
    },
  });
});
