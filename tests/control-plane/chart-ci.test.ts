/**
 * The chart with CI types on a real API server: what its account may do in their namespace, what helm looks up, and what the policies allow.
 * The policies that are judged are those that the API server has.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CI_NAMESPACE_PERMISSIONS, CI_PERMISSIONS, PERMISSIONS, type Permission } from '#/operator/permissions.ts';
import { type ControlPlane, startControlPlane } from '#/testing/control-plane.ts';
import { areAllowed, type Connection, type Peer } from '#/testing/network-policies.ts';
import { CHART, CI, EXAMPLE, render } from './chart.ts';
import { rightsIn } from './rights.ts';

const RELEASE = 'slipway-chart-ci';
const NAMESPACE = 'slipway-chart-ci-tasks';
const VALUES = [...CI, '--set', `config.taskTypes.ci.ci.namespace=${NAMESPACE}`];
const OPERATOR = `system:serviceaccount:${RELEASE}:slipway`;
const PUBLIC_IPV4 = '203.0.113.200';
const PUBLIC_IPV6 = '2001:db8:1::7';

interface EndpointSlice {
  readonly endpoints: readonly { readonly addresses: readonly string[] }[];
}
interface Policy {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: object;
}

let cluster: ControlPlane;
/** Addresses of the API server, as a cluster tells them. */
let ofApiServer: readonly string[];

beforeAll(async () => {
  cluster = await startControlPlane();
  await cluster.kubectl(['create', 'namespace', RELEASE]);
  // The control plane of the tests leaves out what writes this, and has no public address.
  if (!cluster.foreign) {
    const slice = (family: string, address: string) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name: `kubernetes-${family.toLowerCase()}`,
        namespace: 'default',
        labels: { 'kubernetes.io/service-name': 'kubernetes' },
      },
      addressType: family,
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports: [{ name: 'https', port: 443, protocol: 'TCP' }],
    });
    const other = { ...slice('IPv4', '198.51.100.1'), metadata: { name: 'other', namespace: 'default' } };
    await cluster.apply(slice('IPv4', PUBLIC_IPV4), slice('IPv6', PUBLIC_IPV6), other);
  }
  const { spec } = await cluster.get<{ spec: { clusterIPs: string[] } }>('-n', 'default', 'service/kubernetes');
  const selected = ['-n', 'default', 'endpointslices', '-l', 'kubernetes.io/service-name=kubernetes'];
  const { items } = await cluster.get<{ items: EndpointSlice[] }>(...selected);
  const ofSlices = items.flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses));
  ofApiServer = [...spec.clusterIPs, ...ofSlices];
  expect(ofSlices.length).toBeGreaterThan(0);
});
afterAll(async () => {
  await cluster?.kubectl(['delete', 'namespace', RELEASE, NAMESPACE, '--ignore-not-found', '--wait=false']);
  const roles = ['objects', 'addresses', 'namespaces'].map((name) => `clusterrole/${RELEASE}-${name}`);
  await cluster?.kubectl(['delete', ...roles, '--ignore-not-found']);
  await cluster?.kubectl(['-n', 'default', 'delete', 'rolebinding', `${RELEASE}-deployer`, '--ignore-not-found']);
  await cluster?.[Symbol.asyncDispose]();
});

const install = (...args: readonly string[]) =>
  cluster.helm(['install', 'slipway', CHART, '-n', RELEASE, ...VALUES, ...args]);
const refused = (...args: readonly string[]) => install('--dry-run=server', ...args).then(() => 'accepted', String);
const policies = async () => {
  const of = (namespace: string) => cluster.get<{ items: Policy[] }>('networkpolicies', '-n', namespace);
  return (await Promise.all([RELEASE, NAMESPACE].map(of))).flatMap(({ items }) => items);
};

const granted = (permissions: readonly Permission[]) =>
  permissions.flatMap(({ group, resource, verbs }) => verbs.map((verb) => `${verb} ${resource}.${group}`)).sort();

// Each test goes on from the one before: a namespace that is missing, that is too strict, and then one as it should be.

test('a namespace that is not there is refused with the command that makes it, before anything is made', async () => {
  const label = `kubectl label namespace ${NAMESPACE} pod-security.kubernetes.io/enforce=baseline`;
  const commands = `kubectl create namespace ${NAMESPACE} && ${label}`;
  const said = await install().then(() => 'accepted', String);
  expect(said).toContain(`CI types in the namespace ${NAMESPACE}, which does not exist. Make it: ${commands}`);
  expect(await cluster.kubectl(['-n', RELEASE, 'get', 'deployments', '-o', 'name'])).toBe('');
  expect(await refused('--set', 'lookup=false')).not.toContain('Make it');

  await cluster.kubectl(['create', 'namespace', NAMESPACE]);
  await cluster.kubectl(['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted']);
  const warned = await install('--dry-run=server');
  const mend = /Warning: the namespace \S+ enforces .* restricted, .*: (kubectl label .*)/.exec(warned)?.[1] ?? '';
  await cluster.kubectl(mend.split(' ').slice(1));
  expect(await install('--dry-run=server')).not.toContain('level restricted');
});

describe('who installs by bindings in these two namespaces alone', () => {
  const bind = (namespace: string, user: string, role: string) =>
    cluster.kubectl(['-n', namespace, 'create', 'rolebinding', user, `--clusterrole=${role}`, `--user=${user}`]);

  beforeAll(async () => {
    for (const namespace of [RELEASE, NAMESPACE]) await bind(namespace, 'installer', 'admin');
  });

  test('and may not read the namespace default has to say so with CI types', async () => {
    const as = ['--kube-as-user', 'installer'];
    expect(await refused(...as)).toMatch(/User "installer" cannot \w+ resource "\w+" .* in the namespace "default"/);
    expect(await refused(...as, '--set', 'lookup=false')).toBe('accepted');
  });

  test('needs nothing besides without CI types', async () => {
    const plain = ['install', 'slipway', CHART, '-n', RELEASE, ...EXAMPLE, '--dry-run=server'];
    expect(await cluster.helm([...plain, '--kube-as-user', 'installer'])).toContain('kind: NetworkPolicy');
  });

  test('reads what the chart looks up, but not the namespace of the release', async () => {
    const role = (name: string, apiGroups: readonly string[], resources: readonly string[], verbs: readonly string[]) =>
      cluster.apply({
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: `${RELEASE}-${name}` },
        rules: [{ apiGroups, resources, verbs }],
      });
    const kinds = [
      'configmaps',
      'deployments',
      'networkpolicies',
      'rolebindings',
      'roles',
      'secrets',
      'serviceaccounts',
    ];
    await role('objects', ['', 'apps', 'networking.k8s.io', 'rbac.authorization.k8s.io'], kinds, ['*']);
    await role('addresses', ['', 'discovery.k8s.io'], ['services', 'endpointslices'], ['get', 'list']);
    await role('namespaces', [''], ['namespaces'], ['get']);
    for (const namespace of [RELEASE, NAMESPACE]) await bind(namespace, 'deployer', `${RELEASE}-objects`);
    await cluster.kubectl([
      ...['-n', 'default', 'create', 'rolebinding', `${RELEASE}-deployer`],
      ...[`--clusterrole=${RELEASE}-addresses`, '--user=deployer'],
    ]);
    const as = ['--kube-as-user', 'deployer'];
    expect(await refused(...as)).toContain(`namespaces "${NAMESPACE}" is forbidden`);
    await cluster.kubectl([
      ...['-n', NAMESPACE, 'create', 'rolebinding', 'deployer-looks'],
      ...[`--clusterrole=${RELEASE}-namespaces`, '--user=deployer'],
    ]);
    expect(await refused(...as)).toBe('accepted');
  });
});

test('installed: the operator may do in the CI namespace what its list says, and the CI account nothing', async () => {
  expect(await install()).toContain('STATUS: deployed');
  expect(await rightsIn(cluster, NAMESPACE, OPERATOR)).toEqual(granted(CI_NAMESPACE_PERMISSIONS));
  expect(await rightsIn(cluster, RELEASE, OPERATOR)).toEqual(granted(PERMISSIONS));
  expect(granted(CI_NAMESPACE_PERMISSIONS)).not.toContain('create leases.coordination.k8s.io');
  expect(await rightsIn(cluster, 'default', OPERATOR)).toEqual([]);
  expect(await rightsIn(cluster, NAMESPACE, `system:serviceaccount:${NAMESPACE}:slipway-ci`)).toEqual([]);
});

test('every object is taken by strict validation, without a warning', async () => {
  const input = await cluster.helm(['get', 'manifest', 'slipway', '-n', RELEASE]);
  const strict = ['--dry-run=server', '--validate=strict', '--warnings-as-errors'];
  const taken = await cluster.kubectl(['apply', ...strict, '-f', '-', '-o', 'name'], { input });
  expect(taken.match(/^networkpolicy/gm)).toHaveLength(3);
});

test('the addresses of the API server that helm found stand in the policy, and those of nobody else', async () => {
  const found = (await policies()).find(({ metadata }) => metadata.namespace === NAMESPACE);
  const rendered = (await render(VALUES)).find(
    ({ metadata }) => metadata.name === 'slipway-ci' && metadata.namespace === NAMESPACE,
  );
  const ofCluster = ofApiServer.map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
  const excepted = (policy: { readonly spec?: object } = {}) => {
    const { egress } = policy.spec as { egress: { to: { ipBlock?: { cidr: string; except?: string[] } }[] }[] };
    return egress.flatMap(({ to }) => to.flatMap(({ ipBlock }) => ipBlock?.except ?? []));
  };
  const added = new Set(excepted(found)).difference(new Set(excepted(rendered)));
  expect([...added].sort()).toEqual([...new Set(ofCluster)].sort());
});

const LABELS = { 'app.kubernetes.io/managed-by': 'slipway' };
const ofCi: Peer = {
  ip: '10.244.1.5',
  pod: { namespace: NAMESPACE, labels: { ...LABELS, 'slipway.dev/kind': 'ci' } },
};
const another: Peer = { ip: '10.244.1.6', pod: { namespace: 'shop', labels: { app: 'db' } } };
const dns: Peer = { ip: '10.244.0.2', pod: { namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' } } };
const to = (ip: string): Peer => ({ ip });

/** The names of the connections that the policies of the API server allow. */
async function allowedOf(connections: Readonly<Record<string, Connection>>): Promise<readonly string[]> {
  const answers = await areAllowed(await policies(), Object.values(connections));
  return Object.keys(connections).filter((_, index) => answers[index]);
}
const tcp = (from: Peer, destination: Peer, port = 443): Connection => ({
  from,
  to: destination,
  port,
  protocol: 'TCP',
});
const udp = (from: Peer, destination: Peer, port = 53): Connection => ({
  from,
  to: destination,
  port,
  protocol: 'UDP',
});

/** What a CI task may, and may not, reach from its pod. */
const reached = (from: Peer) => ({
  allowed: {
    'a public address': tcp(from, to('140.82.112.3')),
    'a public address, any port': tcp(from, to('140.82.112.3'), 22),
    'a public address by IPv6': tcp(from, to('2606:50c0:8000::153')),
    'DNS of the cluster': udp(from, dns),
    'DNS of the cluster by TCP': tcp(from, dns, 53),
    "DNS of the node's cache": udp(from, to('169.254.20.10')),
    'a range that the values open': tcp(from, to('10.245.12.9'), 3000),
  },
  refused: {
    'the metadata service': tcp(from, to('169.254.169.254'), 80),
    'the metadata service by IPv6': tcp(from, to('fd00:ec2::254'), 80),
    "Azure's wire server": tcp(from, to('168.63.129.16'), 80),
    "Azure's wire server, DNS": udp(from, to('168.63.129.16')),
    'another pod': tcp(from, another, 5432),
    'another pod, port of DNS': udp(from, another),
    'another CI pod': tcp(from, { ...ofCi, ip: '10.244.1.7' }),
    'a pod of kube-system, other port': tcp(from, dns, 9153),
    "the node's cache of DNS, other port": tcp(from, to('169.254.20.10'), 9253),
    'a private network': tcp(from, to('172.31.0.1')),
    another: tcp(from, to('192.168.1.1')),
    'a carrier’s': tcp(from, to('100.100.100.200'), 80),
    'a private one by IPv6': tcp(from, to('fc00::1')),
    'the link by IPv6': tcp(from, to('fe80::1')),
    'beside the range that is opened': tcp(from, to('10.245.13.9'), 3000),
    'a range that the values close': tcp(from, to('203.0.113.5')),
    ...Object.fromEntries(ofApiServer.map((address) => [`the API server, ${address}`, tcp(from, to(address))])),
    ...Object.fromEntries(ofApiServer.map((address) => [`its port 6443, ${address}`, tcp(from, to(address), 6443)])),
  },
});

describe('by the rules of the policies', () => {
  test('a CI task reaches DNS and what is public, and nothing of the cluster, the cloud or a private network', async () => {
    const { allowed, refused: denied } = reached(ofCi);
    if (!cluster.foreign)
      expect(Object.keys(denied)).toEqual(
        expect.arrayContaining([`the API server, ${PUBLIC_IPV4}`, `the API server, ${PUBLIC_IPV6}`]),
      );
    expect(await allowedOf({ ...allowed, ...denied })).toEqual(Object.keys(allowed));
  });

  test('nobody reaches a CI task', async () => {
    const own: Peer = { ip: '10.244.1.8', pod: { namespace: NAMESPACE, labels: {} } };
    const operator: Peer = { ip: '10.244.1.9', pod: { namespace: RELEASE, labels: {} } };
    const from = { another, own, operator, dns, outside: to('140.82.112.3'), link: to('fe80::1') };
    const asked = Object.entries(from).map(([who, peer]): [string, Connection] => [who, tcp(peer, ofCi, 8080)]);
    expect(await allowedOf(Object.fromEntries(asked))).toEqual([]);
  });

  test('in the namespace of the release they bind CI tasks alone', async () => {
    const here = ['--set', `config.taskTypes.ci.ci.namespace=${RELEASE}`];
    await cluster.helm(['upgrade', 'slipway', CHART, '-n', RELEASE, ...CI, ...here]);
    const ofRelease = (labels: Readonly<Record<string, string>>): Peer => ({
      ...ofCi,
      pod: { namespace: RELEASE, labels },
    });
    const { allowed, refused: denied } = reached(ofRelease({ ...LABELS, 'slipway.dev/kind': 'ci' }));
    expect(await allowedOf({ ...allowed, ...denied })).toEqual(Object.keys(allowed));
    const task = ofRelease(LABELS);
    const ordinary = {
      'to another pod': tcp(task, another, 5432),
      'to the metadata service': tcp(task, to('169.254.169.254'), 80),
      ...Object.fromEntries(ofApiServer.map((address) => [`to the API server, ${address}`, tcp(task, to(address))])),
    };
    expect(await allowedOf({ ...ordinary, 'from another pod': tcp(another, task, 8080) })).toEqual(
      Object.keys(ordinary),
    );
    expect(await rightsIn(cluster, RELEASE, OPERATOR)).toEqual(granted([...PERMISSIONS, ...CI_PERMISSIONS]));
    // What went is not bound any more, and the operator has no rights there.
    expect(await allowedOf({ gone: tcp(ofCi, another, 5432) })).toEqual(['gone']);
    expect(await rightsIn(cluster, NAMESPACE, OPERATOR)).toEqual([]);
  });
});

test('uninstalled, nothing stays', async () => {
  await cluster.helm(['uninstall', 'slipway', '-n', RELEASE]);
  const kinds = 'deployment,configmap,role,rolebinding,networkpolicy,serviceaccount';
  for (const namespace of [RELEASE, NAMESPACE]) {
    const left = ['get', kinds, '-n', namespace, '-l', 'app.kubernetes.io/instance=slipway', '-o', 'name'];
    expect(await cluster.kubectl(left)).toBe('');
  }
});
