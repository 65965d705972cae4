import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { faultsOf } from './description.ts';

const directory = new URL('2023-05-01/examples/', import.meta.url);
interface Example {
  readonly parameters: { readonly containerGroup?: object };
  readonly responses: Readonly<Record<string, { readonly body?: object }>>;
}
const examples = readdirSync(directory).map(
  (name) => [name, JSON.parse(readFileSync(new URL(name, directory), 'utf8')) as Example] as const,
);
const ofGroups = examples.filter(([name]) => /^ContainerGroup(s(Create|Get|Update|Delete)|Create)/.test(name));

describe('the official examples fit', () => {
  test.each(ofGroups)('%s', (name, { parameters, responses }) => {
    const bodies = Object.values(responses).flatMap(({ body }) => (body === undefined ? [] : [body]));
    for (const body of bodies) expect(faultsOf('ContainerGroup', 'response', body)).toEqual([]);
    if (parameters.containerGroup !== undefined && name !== 'ContainerGroupsUpdate.json')
      expect(faultsOf('ContainerGroup', 'request', parameters.containerGroup)).toEqual([]);
    expect(bodies.length + (parameters.containerGroup === undefined ? 0 : 1)).toBeGreaterThan(0);
  });
});

const container = { name: 'task', properties: { image: 'i', resources: { requests: { cpu: 1, memoryInGB: 1 } } } };
const group = { location: 'l', properties: { containers: [container], osType: 'Linux' } };

test('a group that fits has no fault', () => expect(faultsOf('ContainerGroup', 'request', group)).toEqual([]));

test.each([
  ['a field that there is not', { ...group, colour: 'red' }],
  [
    'one that there is not, deep inside',
    { ...group, properties: { ...group.properties, containers: [{ ...container, args: [] }] } },
  ],
  [
    'a word that is none of those it may be',
    { ...group, properties: { ...group.properties, restartPolicy: 'Sometimes' } },
  ],
  [
    'a number as text',
    {
      ...group,
      properties: {
        ...group.properties,
        containers: [
          {
            ...container,
            properties: { ...container.properties, resources: { requests: { cpu: '1', memoryInGB: 1 } } },
          },
        ],
      },
    },
  ],
  ['a field that is missing', { location: 'l', properties: { containers: [container] } }],
  [
    'one that only the service writes',
    { ...group, properties: { ...group.properties, provisioningState: 'Succeeded' } },
  ],
])('refuses %s', (_, body) => expect(faultsOf('ContainerGroup', 'request', body)).not.toEqual([]));
