/** What the operator may do where tasks run: the one source of the chart's Roles, held to the code by build/permissions.test.ts. */

/** Verbs on one resource of one API group ('' is the core group). */
export interface Permission {
  readonly group: string;
  readonly resource: string;
  readonly verbs: readonly string[];
  /** Only on the object that bears the name of the Role's namespace. */
  readonly ownNamespaceOnly?: true;
  /** Not in a namespace that has nothing but the Jobs of CI tasks. */
  readonly releaseNamespaceOnly?: true;
  /** Only on objects that the chart's values name: the template that gives their names as a JSON array. None, if it is empty. */
  readonly namedBy?: string;
  /** What for, as it stands in the Role. */
  readonly why: string;
}

/** What it needs always. Nothing here reads a Secret or starts a pod other than by a Job. */
export const PERMISSIONS: readonly Permission[] = [
  {
    group: 'batch',
    resource: 'jobs',
    verbs: ['create', 'get', 'list', 'patch', 'watch'],
    why: 'One Job per message; what is known of the message stands on it.',
  },
  {
    group: '',
    resource: 'pods',
    verbs: ['delete', 'list', 'watch'],
    why: 'How a task ended stands on its pod; one that does not start is deleted, which uses up an attempt.',
  },
  {
    group: '',
    resource: 'pods/eviction',
    verbs: ['create'],
    why: 'One that does not start for a passing reason is evicted, which uses up none.',
  },
  {
    group: '',
    resource: 'events',
    verbs: ['create', 'list'],
    why: 'What kubectl describe job shows; why Kubernetes makes no pod is said there alone.',
  },
  {
    group: 'coordination.k8s.io',
    resource: 'leases',
    verbs: ['create', 'get', 'update'],
    releaseNamespaceOnly: true,
    why: 'The Lease by which replicas agree on the one that works.',
  },
  {
    group: '',
    resource: 'namespaces',
    verbs: ['get'],
    ownNamespaceOnly: true,
    why: 'Whether it is being deleted: a Job that goes with its namespace is not cancelled.',
  },
];

/** What it needs besides where CI tasks run. */
export const CI_PERMISSIONS: readonly Permission[] = [
  {
    group: '',
    resource: 'pods',
    verbs: ['patch'],
    why: 'Tests have a deadline of their own: when it is over, that of their pod is made to end it, which keeps what they said.',
  },
];

/** What it needs besides where tasks run on Azure Container Instances. */
export const ACI_PERMISSIONS: readonly Permission[] = [
  {
    group: 'batch',
    resource: 'jobs/status',
    verbs: ['patch'],
    why: 'Kubernetes does not run those Jobs: Slipway writes how they stand.',
  },
  {
    group: '',
    resource: 'secrets',
    verbs: ['get'],
    namedBy: 'slipway.aciSecrets',
    why: 'What tasks refer to is given to their container groups; only these, and nothing is listed.',
  },
  {
    group: '',
    resource: 'configmaps',
    verbs: ['get'],
    namedBy: 'slipway.aciConfigMaps',
    why: 'As the Secrets.',
  },
  {
    group: 'apps',
    resource: 'deployments/scale',
    verbs: ['patch'],
    namedBy: 'slipway.aciDeployments',
    why: 'Before the release goes it stops its operator, so that no group is made any more.',
  },
  {
    group: 'batch',
    resource: 'cronjobs',
    verbs: ['patch'],
    namedBy: 'slipway.aciCronJobs',
    why: 'The same, where the operator is a CronJob.',
  },
];

/** All that it needs in a namespace other than its own, where nothing but CI tasks run. */
export const CI_NAMESPACE_PERMISSIONS: readonly Permission[] = [
  ...PERMISSIONS.filter(({ releaseNamespaceOnly }) => releaseNamespaceOnly === undefined),
  ...CI_PERMISSIONS,
];
