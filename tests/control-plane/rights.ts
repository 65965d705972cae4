/** What somebody may do in a namespace, by the API server's own authorizer. */
import { expect } from 'vitest';
import type { ControlPlane } from '#/testing/control-plane.ts';

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'];
const RESOURCES = [
  ...['pods.', 'pods/exec.', 'pods/log.', 'pods/eviction.', 'secrets.', 'configmaps.', 'events.', 'serviceaccounts.'],
  ...['serviceaccounts/token.', 'namespaces.', 'jobs.batch', 'jobs/status.batch', 'cronjobs.batch', 'deployments.apps'],
  ...['leases.coordination.k8s.io', 'roles.rbac.authorization.k8s.io', 'rolebindings.rbac.authorization.k8s.io'],
];

/** All that a user may do in a namespace of all verbs on all of these resources, as `verb resource.group`, sorted. */
export async function rightsIn(cluster: ControlPlane, namespace: string, user: string): Promise<string[]> {
  const asked = RESOURCES.flatMap((kind) => VERBS.map((verb) => ({ verb, kind })));
  const items = asked.map(({ verb, kind }) => {
    const [, resource = '', subresource = '', group = ''] = /^([^./]+)(?:\/([^.]+))?\.(.*)$/.exec(kind) ?? [];
    // The one right that is about a single object by its name.
    const name = resource === 'namespaces' ? { name: namespace } : {};
    const resourceAttributes = { namespace, verb, group, resource, subresource, ...name };
    return {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user, resourceAttributes },
    };
  });
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  const answers = await cluster.kubectl(['create', '-f', '-', '-o', 'jsonpath={.status.allowed}{"\\n"}'], { input });
  const allowed = answers.trim().split('\n');
  expect(allowed).toHaveLength(asked.length);
  return asked.flatMap(({ verb, kind }, index) => (allowed[index] === 'true' ? [`${verb} ${kind}`] : [])).sort();
}
