/** Commands for a shell that grant or mend something. */

/** A word as a POSIX shell takes it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** `kubectl -n NAMESPACE …`, each word quoted where it must be. */
export function kubectl(namespace: string, ...words: readonly string[]): string {
  return ['kubectl', '-n', namespace, ...words].map(quoted).join(' ');
}

/** Verbs on a resource of a group ('' is the core group); `name`: on one object alone. */
export interface Right {
  readonly group: string;
  readonly resource: string;
  readonly verbs: readonly string[];
  readonly name?: string;
}

/** Whom a right is given to, by the user's name that the API server knows. */
export type User = string;

/** The user name of a service account. */
export function accountUser(namespace: string, name: string): User {
  return `system:serviceaccount:${namespace}:${name}`;
}

/**
 * Two commands in one line that make a Role with a right and bind it. The Role is named for the right, so that granting another one later
 * is not refused for a name that exists.
 */
export function grant(namespace: string, user: User, { group, resource, verbs, name }: Right): string {
  const role = ['slipway', resource.replaceAll('/', '-'), ...(name === undefined ? [] : [name]), ...verbs].join('-');
  const [, , ofNamespace, account] = user.startsWith('system:serviceaccount:') ? user.split(':') : [];
  const to = account === undefined ? `--user=${user}` : `--serviceaccount=${ofNamespace}:${account}`;
  return [
    kubectl(
      namespace,
      'create',
      'role',
      role,
      `--verb=${verbs.join(',')}`,
      `--resource=${resourceArgument(group, resource)}`,
      ...(name === undefined ? [] : [`--resource-name=${name}`]),
    ),
    kubectl(namespace, 'create', 'rolebinding', `${role}-${account ?? 'user'}`, `--role=${role}`, to),
  ].join(' && ');
}

/** `jobs.batch`, `pods/eviction`, `deployments.apps/scale`: kubectl wants the group before the subresource. */
function resourceArgument(group: string, resource: string): string {
  const [kind = '', subresource] = resource.split('/');
  return `${kind}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
}
