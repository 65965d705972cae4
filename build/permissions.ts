/** The operator's permissions as they stand in the chart. */
import type { Permission } from '../operator/permissions.ts';

/**
 * The permissions as the rules of a Role: YAML of a chart's template.
 *
 * @param namespace the template's expression for the Role's namespace
 */
export function roleRules(permissions: readonly Permission[], namespace = '.Release.Namespace'): string {
  return permissions
    .map(({ group, resource, verbs, why, ownNamespaceOnly, namedBy }) =>
      [
        // No names at all would be all names.
        ...(namedBy === undefined ? [] : [`{{- with include "${namedBy}" . | fromJsonArray }}`]),
        `# ${why}`,
        `- apiGroups: ["${group}"]`,
        `  resources: [${resource}]`,
        ...(ownNamespaceOnly ? [`  resourceNames: ["{{ ${namespace} }}"]`] : []),
        ...(namedBy === undefined ? [] : ['  resourceNames: {{ toJson . }}']),
        `  verbs: [${verbs.join(', ')}]`,
        ...(namedBy === undefined ? [] : ['{{- end }}']),
      ].join('\n'),
    )
    .join('\n');
}
