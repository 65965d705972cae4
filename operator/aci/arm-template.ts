/**
 * A container group as a template that `az deployment group create` takes, to try one by hand. Nobody reads a Secret for it: each key that
 * the pod template refers to becomes a parameter. Pure.
 */
import type { V1Job, V1PodTemplateSpec } from '@kubernetes/client-node';
import { mapValues } from '../../lib/map-values.ts';
import type { ContainerGroup } from './container-group.ts';
import type { Missing, Sources } from './environment.ts';
import { fieldOf } from './fields.ts';
import { referencesOf } from './references.ts';
import { type Place, translate } from './translate.ts';

/** A parameter of the template. */
interface Parameter {
  readonly type: 'string' | 'secureString';
  readonly metadata: { readonly description: string };
}

/** A deployment template. https://learn.microsoft.com/azure/azure-resource-manager/templates/syntax */
export interface ArmTemplate {
  readonly $schema: string;
  readonly contentVersion: string;
  readonly parameters: Readonly<Record<string, Parameter>>;
  readonly resources: readonly [
    ContainerGroup & { readonly type: string; readonly apiVersion: string; readonly name: string },
  ];
}

/** The template, what it could not be made for, and what was left out of it. */
export type Rendered =
  | { readonly kind: 'template'; readonly template: ArmTemplate; readonly leftOut: readonly string[] }
  | { readonly kind: 'incomplete'; readonly missing: readonly Missing[] };

/** Begins and ends a parameter's place in a text, until it is rendered. */
const [BEGIN, END] = ['\u{F0000}', '\u{F0001}'];

/** Renders the group of a Job whose template has no obstacles. */
export function armTemplate(job: V1Job, place: Place, tags: Readonly<Record<string, string>>): Rendered {
  const template: V1PodTemplateSpec = job.spec?.template ?? {};
  const named = { name: job.metadata?.name ?? '', namespace: job.metadata?.namespace ?? 'default', uid: 'by-hand' };
  const parameters: Record<string, Parameter> = {};
  // Texts come from messages too: one that looks like a mark would be given a Secret, or become an expression.
  const all = JSON.stringify(template);
  let begin = `${BEGIN}0:`;
  for (let at = 1; all.includes(begin); at++) begin = `${BEGIN}${at}:`;
  const mark = (kind: 'Secret' | 'ConfigMap', name: string, key: string): string => {
    const description = `The key ${key} of the ${kind} ${name}`;
    const plain = `${name}-${key}`.replace(/[^A-Za-z0-9-]+/g, '-');
    const isTaken = (as: string) => (parameters[as]?.metadata.description ?? description) !== description;
    let parameter = plain;
    for (let at = 2; isTaken(parameter); at++) parameter = `${plain}-${at}`;
    parameters[parameter] = { type: kind === 'Secret' ? 'secureString' : 'string', metadata: { description } };
    return `${begin}${parameter}${END}`;
  };
  const references = referencesOf(template);
  const keysOf = (kind: 'Secret' | 'ConfigMap', name: string) =>
    Object.fromEntries(
      references.flatMap((one) =>
        one.kind === kind && one.name === name && one.key !== undefined ? [[one.key, mark(kind, name, one.key)]] : [],
      ),
    );
  const pullSecrets = (template.spec?.imagePullSecrets ?? []).map(({ name }) => name);
  const sources: Sources = {
    secret: (name) =>
      mapValues(
        pullSecrets.includes(name)
          ? {
              '.dockerconfigjson': dockerConfig(
                template,
                mark('Secret', name, 'username'),
                mark('Secret', name, 'password'),
              ),
            }
          : keysOf('Secret', name),
        (text) => Buffer.from(text, 'utf8').toString('base64'),
      ),
    configMap: (name) => keysOf('ConfigMap', name),
    field: (path) => fieldOf(template, named, path),
  };
  const translation = translate(template, place, tags, sources);
  if (translation.kind === 'incomplete') return translation;
  return {
    kind: 'template',
    template: {
      $schema: 'https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#',
      contentVersion: '1.0.0.0',
      parameters,
      resources: [
        {
          type: 'Microsoft.ContainerInstance/containerGroups',
          apiVersion: '2023-05-01',
          name: named.name,
          ...(literal(translation.group, new RegExp(`${begin}([A-Za-z0-9-]+)${END}`, 'gu')) as ContainerGroup),
        },
      ],
    },
    leftOut: references.flatMap(({ kind, name, key, field }) =>
      key === undefined ? [`${field}: which keys the ${kind} ${name} has is not known here; add them yourself`] : [],
    ),
  };
}

/** Credentials for the registry that the task's image is in. */
function dockerConfig({ spec }: V1PodTemplateSpec, username: string, password: string): string {
  const [first = ''] = (spec?.containers[0]?.image ?? '').split('/');
  const server = /[.:]/.test(first) ? first : 'docker.io';
  return JSON.stringify({ auths: { [server]: { username, password } } });
}

/** Every text as an expression where it has a mark; else as it is. The values of secret volumes are base64. */
function literal(value: unknown, mark: RegExp, key = ''): unknown {
  if (Array.isArray(value)) return value.map((one) => literal(one, mark));
  if (typeof value === 'object' && value !== null)
    return mapValues(value, (one, name) => (key === 'secret' ? file(String(one), mark) : literal(one, mark, name)));
  return typeof value === 'string' ? text(value, mark) : value;
}

function file(base64: string, mark: RegExp): string {
  const content = Buffer.from(base64, 'base64').toString('utf8');
  return content.search(mark) < 0 ? base64 : `[base64(${expression(content, mark)})]`;
}

function text(value: string, mark: RegExp): string {
  if (value.search(mark) >= 0) return `[${expression(value, mark)}]`;
  // What begins and ends like an expression is one, unless its bracket is doubled.
  return value.startsWith('[') && value.endsWith(']') ? `[${value}` : value;
}

function expression(value: string, mark: RegExp): string {
  const parts = value.split(mark).flatMap((part, at) => {
    if (at % 2 === 1) return [`parameters('${part}')`];
    return part === '' ? [] : [`'${part.replaceAll("'", "''")}'`];
  });
  const [only = "''"] = parts;
  return parts.length < 2 ? only : `concat(${parts.join(', ')})`;
}
