import { expect, test } from 'vitest';
import { fieldOf } from './fields.ts';

const template = { metadata: { annotations: { 'a/b': 'one' }, labels: { c: 'two' } } };
const named = { name: 'n', namespace: 'ns', uid: 'u' };

test.each([
  ["metadata.annotations['a/b']", 'one'],
  ["metadata.annotations['none']", ''],
  ["metadata.labels['c']", 'two'],
  ['metadata.name', 'n'],
  ['metadata.namespace', 'ns'],
  ['metadata.uid', 'u'],
  ['status.podIP', undefined],
  ['metadata.annotations', undefined],
])('%s is %s', (path, expected) => expect(fieldOf(template, named, path)).toBe(expected));
