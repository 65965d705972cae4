import { expect, test } from 'vitest';
import { isNewEnough } from './api-server.ts';
import { tagOf } from './operator.ts';

test.each([
  ['v1.33.0', true],
  ['v1.35.8+k3s1', true],
  ['v1.32.9', false],
  ['v2.0.0', true],
  ['v0.40.0', false],
  ['', false],
])('Slipway runs on Kubernetes %j: %s', (version, expected) => expect(isNewEnough(version)).toBe(expected));

test.each([
  ['registry.example.com:5000/slipway:0.1.0', '0.1.0'],
  ['registry.example.com:5000/slipway', undefined],
  ['slipway:0.1.0@sha256:abc', '0.1.0'],
  ['slipway@sha256:abc', undefined],
])('the tag of %s is %s', (image, tag) => expect(tagOf(image)).toBe(tag));
