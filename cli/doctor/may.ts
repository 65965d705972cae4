/** What somebody may do: the person who asks, and the operator's service account. */
import { isKind, type ServiceError } from '../../lib/errors.ts';
import { PERMISSIONS, type Permission } from '../../operator/permissions.ts';
import { type Answer, ask, refusalOf } from '../ask.ts';
import type { Cluster } from '../cluster.ts';
import { accountUser, grant, type Right } from './commands.ts';
import { type Finding, ok, problem, unknown } from './finding.ts';

/** The finding for a question that the API server did not answer: where the person lacks a right, the command that grants it. */
export function askable(
  check: string,
  error: ServiceError,
  namespace: string,
  user: string | undefined,
  right: Right,
): Finding {
  if (!isKind(error, 'forbidden')) return unknown(check, refusalOf(error));
  const detail = `you may not ${right.verbs.join(', ')} ${right.resource}${right.name === undefined ? '' : ` ${right.name}`} in ${namespace}. Let somebody who may ask, or grant it to you`;
  return unknown(check, detail, user === undefined ? undefined : grant(namespace, user, right));
}

/** A permission, which may be about one object by its name. */
export type NeededRight = Pick<Permission, 'group' | 'resource' | 'verbs' | 'ownNamespaceOnly'> & {
  readonly name?: string;
};

/** A service account, which may be of another namespace than the one in which its rights are asked about. */
export interface Account {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Each permission that the operator needs.
 *
 * @param account the service account that is asked about; undefined: whoever asks
 * @param where goes behind the name of each check
 */
export async function examineRights(
  cluster: Cluster,
  user: string | undefined,
  account: Account | undefined,
  needed: readonly NeededRight[] = PERMISSIONS,
  where = '',
): Promise<readonly Finding[]> {
  const { namespace } = cluster;
  const subject = account === undefined ? user : accountUser(account.namespace, account.name);
  const findings: Finding[] = [];
  for (const { group, resource, verbs, ownNamespaceOnly, name } of needed) {
    const onOne = ownNamespaceOnly === true ? { name: namespace } : name === undefined ? {} : { name };
    const check = `rights on ${resource}${name === undefined ? '' : ` ${name}`}${where}`;
    const answers = await Promise.all(
      verbs.map((verb) => mayDo(cluster, account, { group, resource, verb, ...onOne })),
    );
    const failed = answers.find((answer) => !answer.ok);
    if (failed !== undefined && !failed.ok) {
      if (account === undefined || !isKind(failed.error, 'forbidden')) {
        findings.push(unknown(check, refusalOf(failed.error)));
        continue;
      }
      // The same answer for every permission, so it is given once.
      const right = { group: 'authorization.k8s.io', resource: 'localsubjectaccessreviews', verbs: ['create'] };
      const detail = `you may not ask what ${subject ?? 'the service account'} may do in ${namespace}. Let somebody who may ask, grant it to you, or run doctor --self with the account's own token`;
      return [unknown(`rights${where}`, detail, user === undefined ? undefined : grant(namespace, user, right))];
    }
    const missing = verbs.filter((_, at) => answers[at]?.ok === true && !answers[at].value);
    if (missing.length === 0) findings.push(ok(check, `${subject ?? 'you'} may ${verbs.join(', ')}`));
    else
      findings.push(
        problem(
          check,
          `${subject ?? 'you'} may not ${missing.join(', ')}`,
          subject === undefined ? undefined : grant(namespace, subject, { group, resource, verbs: missing, ...onOne }),
        ),
      );
  }
  return findings;
}

/** Asks the API server's authorizer. A service account is asked about with the groups that each has, since rights may be bound to those. */
function mayDo(
  { api, namespace }: Cluster,
  account: Account | undefined,
  { group, resource, verb, name }: Omit<Right, 'verbs'> & { readonly verb: string },
): Promise<Answer<boolean>> {
  const [kindOfResource, subresource] = resource.split('/');
  const resourceAttributes = {
    namespace,
    verb,
    group,
    resource: kindOfResource,
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
  };
  const apiVersion = 'authorization.k8s.io/v1';
  const request =
    account === undefined
      ? {
          path: `/apis/${apiVersion}/selfsubjectaccessreviews`,
          body: { apiVersion, kind: 'SelfSubjectAccessReview', spec: { resourceAttributes } },
        }
      : {
          path: `/apis/${apiVersion}/namespaces/${namespace}/localsubjectaccessreviews`,
          body: {
            apiVersion,
            kind: 'LocalSubjectAccessReview',
            metadata: { namespace },
            spec: {
              user: accountUser(account.namespace, account.name),
              groups: ['system:serviceaccounts', `system:serviceaccounts:${account.namespace}`, 'system:authenticated'],
              resourceAttributes,
            },
          },
        };
  return ask(
    api
      .request({ method: 'POST', ...request })
      .then((review) => (review as { status?: { allowed?: boolean } }).status?.allowed === true),
  );
}
