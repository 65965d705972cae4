import { expect, test } from 'vitest';
import { expand } from './expand.ts';

const known = new Map([
  ['A', { text: 'one', secret: false }],
  ['KEY', { text: 'hidden', secret: true }],
  ['NESTED', { text: '$(A)', secret: false }],
]);

// As the kubelet does it: k8s.io/kubernetes/third_party/forked/golang/expansion and its tests.
test.each([
  ['no reference', 'no reference', false],
  ['$(A)', 'one', false],
  ['a-$(A)-b-$(A)', 'a-one-b-one', false],
  ['$(MISSING)', '$(MISSING)', false],
  ['$$(A)', '$(A)', false],
  ['$$$(A)', '$one', false],
  ['$A $(A', '$A $(A', false],
  ['$(KEY)', 'hidden', true],
  ['$(NESTED)', '$(A)', false],
  ['$()', '$()', false],
])('%s becomes %s', (text, expected, secret) => expect(expand(text, known)).toEqual({ text: expected, secret }));
