/** The configuration of CI types: what is refused, and what follows from it. */
import { expect, test } from 'vitest';
import { ciPolicy } from '../../testing/ci-policy.ts';
import { testConfig } from '../../testing/jobs.ts';
import { namespacesOf } from '../config.ts';

const IMAGES = 'registry.example.com/ci';
const fault = (make: () => unknown): string => {
  try {
    make();
    return '';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

test.each<[string, object, object, RegExp]>([
  ['no images', { images: undefined }, {}, /ci\.images is not set/],
  [
    'an account of Docker Hub, not named as such',
    { images: 'acme/ci' },
    {},
    /ci\.images = "acme\/ci": must be a registry and a repository/,
  ],
  ['images with a tag', { images: `${IMAGES}:1` }, {}, /ci\.images = ".*:1": must be a registry and a repository/],
  ['a namespace that is none', { namespace: 'CI' }, {}, /ci\.namespace = "CI": must be the name of a namespace/],
  ['a user that is no number', { test: { user: 'root' } }, {}, /ci\.test\.user = "root": must be image, or the number/],
  ['a git Secret for any host', { gitHosts: [] }, {}, /ci\.gitSecret \(value not shown\): has no gitHosts\. Name/],
  ['hosts for no Secret', { gitSecret: undefined }, {}, /ci\.gitHosts \(a list\): have no gitSecret that/],
  ...['http://registry:5000/', 'registry:5000/', 'registry:', 'registry:500000', 'Registry', ''].map(
    (name): [string, object, object, RegExp] => [
      `${JSON.stringify(name)} as a registry`,
      { builder: { insecureRegistries: ['registry', '10.0.0.7', 'registry.svc:5000', name] } },
      {},
      /builder\.insecureRegistries\[3\] = ".*": must be HOST:PORT or HOST/,
    ],
  ),
  ['a host with a path', { gitHosts: ['github.com/acme'] }, {}, /gitHosts\[0\] = "github.com\/acme": must be a host/],
  ['a flag without dashes', { builder: { flags: ['x'] } }, {}, /builder\.flags\[0\] = "x": must be a flag/],
  ['two dashes', { builder: { flags: ['--'] } }, {}, /builder\.flags\[0\] = "--": must be a flag/],
  ['another image', { builder: { flags: ['--destination=r.example/a'] } }, {}, /--destination=.*would push to where/],
  ['another target', { builder: { flags: ['--target'] } }, {}, /flags\[0\] = "--target": would build something else/],
  ['no image', { builder: { flags: ['--v', '--no-push'] } }, {}, /flags\[1\] = "--no-push": would keep the image from/],
  ['a file', { builder: { flags: ['--digest-file=/dev/termination-log'] } }, {}, /would write a file that is gone/],
  ['the cache', { builder: { flags: ['--cache-repo=r.example/a'] } }, {}, /is what ci\.builder\.cache is for/],
  ['another folder', { builder: { flags: ['--kaniko-dir=/k'] } }, {}, /would move the folder/],
  ['a capability with CAP_', { builder: { capabilities: ['CAP_KILL'] } }, {}, /capabilities\[0\] = "CAP_KILL": /],
  ['an image beside it', {}, { image: 'x:1' }, /taskTypes\.ci\.image = "x:1": has no meaning beside ci.*Remove image/],
  ['a command beside it', {}, { command: ['x'] }, /taskTypes\.ci\.command.*Remove command/],
  ['security beside it', {}, { security: 'baseline' }, /taskTypes\.ci\.security = "baseline".*Remove security/],
  ['the webhook by the task', {}, { webhook: 'task' }, /taskTypes\.ci\.webhook = "task".*Remove webhook/],
  ['Azure', {}, { backend: 'aci' }, /taskTypes\.ci\.backend = "aci": cannot build images.*Remove backend/],
])('refused: %s', (_, ci, more, words) => expect(fault(() => ciPolicy(ci, more))).toMatch(words));

test('flags that tune the build are taken, and those that another builder may have', () => {
  const flags = [
    ...['--push-retry=10', '--single-snapshot=false', '--compressed-caching', '--build-arg=HTTP_PROXY=http://proxy'],
    ...['--cache-ttl=6h', '--no-push-cache', '--label=target=--no-push', '--context-of-ours', '--constructor'],
  ];
  expect(ciPolicy({ builder: { flags } }).ci.builder.flags).toEqual(flags);
});

test('a client’s prefix has to be one that images can begin with', () => {
  const yaml = (prefix: string) =>
    `clients: { acme: { imagePrefix: "${prefix}" } }\ntaskTypes: { ci: { ci: { images: ${IMAGES} } } }`;
  expect(fault(() => testConfig(yaml('registry.example.com/acme@')))).toMatch(
    /clients\.acme\.imagePrefix = "registry.example.com\/acme@": no image of a CI task can begin so/,
  );
  expect(fault(() => testConfig(yaml('acme/ci-')))).toContain('no image of a CI task can begin so');
  for (const good of ['registry.example.com/acme/', 'registry.example.com:5000/acme', 'r.example/a/b-'])
    expect(fault(() => testConfig(yaml(good)))).toBe('');
});

test('its own defaults: fewer attempts, a longer grace, and Kubernetes, whatever runs elsewhere', () => {
  const policy = ciPolicy();
  expect(policy).toMatchObject({ attempts: 2, graceSeconds: 120, security: 'baseline', webhook: 'operator' });
  const aci =
    'aci: { subscriptionId: 00000000-0000-4000-8000-000000000000, resourceGroup: g, location: westeurope }\nbackend: aci\n';
  const config = testConfig(`${aci}taskTypes: { echo: {}, ci: { ci: { images: ${IMAGES} } } }`);
  expect([...config.policies.values()].map(({ type, backend }) => [type, backend])).toEqual([
    ['echo', 'aci'],
    ['ci', 'kubernetes'],
  ]);
  expect(ciPolicy({}, { attempts: 5, graceSeconds: 7 })).toMatchObject({ attempts: 5, graceSeconds: 7 });
});

test('the namespaces of all types, the operator’s own first', () => {
  const yaml = `taskTypes: { echo: {}, a: { ci: { images: ${IMAGES}, namespace: ci } }, b: { ci: { images: ${IMAGES}, namespace: ci } } }`;
  expect(namespacesOf(testConfig(yaml))).toEqual(['slipway', 'ci']);
});
