/** The workflows, checked by actionlint, and the scripts that they run. Nothing here needs a cluster. */
import { cp, mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { binDirectory, ensureBinaries } from '#/testing/binaries.ts';
import { pageFile } from '#/testing/page-blocks.ts';
import { attempt, type Finished, run } from '#/testing/shell.ts';
import { startWebhookSink } from '#/testing/webhook-sink.ts';
import { stepScript, workflowNames } from '#/testing/workflows.ts';
import { pathOf } from './chart.ts';

const WORKFLOWS = pathOf('.github/workflows');
const EXAMPLE = '.github/workflows/worker.yml';
const shellcheck = await attempt('shellcheck', ['--version']).then(
  () => true,
  () => false,
);

describe('actionlint', () => {
  beforeAll(() => ensureBinaries('lint'));
  const actionlint = (args: readonly string[], cwd = dirname(pathOf('package.json'))) =>
    attempt(join(binDirectory, 'actionlint'), ['-no-color', '-oneline', '-pyflakes=', ...args], { cwd });
  const files = workflowNames.map((name) => join(WORKFLOWS, `${name}.yml`));

  test('finds nothing', async () => {
    expect(await actionlint(['-shellcheck=', ...files])).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  // A machine of one's own may lack it; .ci/run installs it, and a test that was skipped fails the run.
  test.skipIf(!shellcheck)('finds nothing with shellcheck, nor does that in scripts/ci', async () => {
    expect(await actionlint(['-shellcheck=shellcheck', ...files])).toEqual({ code: 0, stdout: '', stderr: '' });
    const scripts = ['deploy', 'notify', 'registry-settings', 'release-chart', 'release-version'];
    await run(
      'shellcheck',
      scripts.map((name) => pathOf(`scripts/ci/${name}`)),
    );
  });

  test('finds nothing in the example of docs/ci.md, and what would be wrong with it', async () => {
    await using project = await mkdtempDisposable(join(tmpdir(), 'slipway-workflows-'));
    const file = join(project.path, EXAMPLE);
    await mkdir(dirname(file), { recursive: true });
    await mkdir(join(project.path, '.git')); // where a project is, is told by it
    await cp(join(WORKFLOWS, 'worker-image.yml'), join(dirname(file), 'worker-image.yml'));
    // In one repository with what it calls, so that what it gives and takes is checked too.
    const example = pageFile('ci.md', EXAMPLE).replace(/OWNER\/slipway\/(\S+)@\S+/, './$1');
    await writeFile(file, example);
    expect(await actionlint([file], project.path)).toEqual({ code: 0, stdout: '', stderr: '' });
    await writeFile(file, example.replace('image: greet', 'name: greet').replace('outputs.reference', 'outputs.name'));
    const { code, stdout } = await actionlint([file], project.path);
    expect(code).toBe(1);
    expect(stdout).toContain('input "name" is not defined');
    expect(stdout).toContain('input "image" is required');
    expect(stdout).toContain('property "name" is not defined in object type');
  });
});

const script = (name: string, env: Record<string, string>, args: readonly string[] = []) =>
  attempt(pathOf(`scripts/ci/${name}`), args, { env });

/** Runs the script of a workflow's step as GitHub does where `shell: bash` is said. */
const step = (name: string, job: string, title: string, env: Record<string, string>) =>
  attempt('bash', ['--noprofile', '--norc', '-eo', 'pipefail', '-c', stepScript(name, job, title)], { env });

describe('notify', () => {
  const RUN = {
    GITHUB_REPOSITORY: 'acme/slipway',
    GITHUB_WORKFLOW: 'images "of" main',
    GITHUB_SERVER_URL: 'https://github.com',
    GITHUB_RUN_ID: '7',
    GITHUB_REF: 'refs/heads/main',
    GITHUB_SHA: 'a'.repeat(40),
    CONCLUSION: 'failure',
  };
  const notify = (url: string) => script('notify', { ...RUN, DEPLOYMENT_WEBHOOK_URL: url });

  test('posts what docs/ci.md shows', async () => {
    await using sink = await startWebhookSink();
    const { code, stderr } = await notify(`${sink.url}/hook?a=[1]&b={2}`);
    expect([code, stderr]).toEqual([0, '']);
    const [request] = sink.requests;
    expect(sink.requests).toHaveLength(1);
    expect(request).toMatchObject({ method: 'POST', path: '/hook?a=[1]&b={2}' });
    expect(request?.headers['content-type']).toBe('application/json');
    const body = JSON.parse(request?.body ?? '') as object;
    expect(body).toEqual({
      repository: 'acme/slipway',
      workflow: 'images "of" main',
      run_url: 'https://github.com/acme/slipway/actions/runs/7',
      ref: 'refs/heads/main',
      sha: 'a'.repeat(40),
      conclusion: 'failure',
    });
    const [, shown = '{}'] = /```json\n(.*?)```/s.exec(await readFile(pathOf('docs/ci.md'), 'utf8')) ?? [];
    expect(Object.keys(body)).toEqual(Object.keys(JSON.parse(shown) as object));
  });

  test('tries again when it is refused, and when there is no answer', async () => {
    await using sink = await startWebhookSink();
    sink.answer('/hook', { status: 503 }, 'reset', { status: 404 }, { status: 204 });
    expect((await notify(`${sink.url}/hook`)).code).toBe(0);
    expect(sink.requests).toHaveLength(4);
  });

  test('gives up, fails and does not show the URL', async () => {
    await using sink = await startWebhookSink();
    sink.answer('/secret-path', { status: 500, body: 'secret-answer' });
    const refused = await notify(`${sink.url}/secret-path`);
    expect(sink.requests).toHaveLength(4);
    const closed = await closedPort();
    const unreachable = await notify(`http://127.0.0.1:${closed}/secret-path`);
    for (const { code, stdout, stderr } of [refused, unreachable]) {
      expect(code).toBe(1);
      expect(stdout).toContain('::error::DEPLOYMENT_WEBHOOK_URL did not take the message');
      expect(stdout + stderr).not.toContain('secret-');
    }
  });

  test('says that nobody is told where no URL is set', async () => {
    const { code, stdout } = await notify('');
    expect(code).toBe(0);
    expect(stdout).toContain('DEPLOYMENT_WEBHOOK_URL is not set');
  });
});

test.each([
  ['nothing is set', {}, 'publish=false', ['ACR_REGISTRY is not set, so nothing is pushed']],
  [
    'OIDC',
    { ACR_REGISTRY: 'a.azurecr.io', AZURE_CLIENT_ID: 'c', AZURE_TENANT_ID: 't', AZURE_SUBSCRIPTION_ID: 's' },
    'publish=true',
    [],
  ],
  ['user and password', { ACR_REGISTRY: 'localhost:5000', HAS_ACR_PASSWORD: 'true' }, 'publish=true', []],
  ['no login', { ACR_REGISTRY: 'a.azurecr.io' }, '', ['the secrets ACR_USERNAME and ACR_PASSWORD']],
  [
    'OIDC by halves',
    { ACR_REGISTRY: 'a.azurecr.io', AZURE_CLIENT_ID: 'c' },
    '',
    ['Set the variable AZURE_TENANT_ID', 'Set the variable AZURE_SUBSCRIPTION_ID'],
  ],
  [
    'a URL for a host',
    { ACR_REGISTRY: 'https://a', HAS_ACR_PASSWORD: 'true' },
    '',
    ['ACR_REGISTRY = "https://a": give a host'],
  ],
  ['Docker Hub alone', { DOCKERHUB_NAMESPACE: 'acme' }, '', ['Set the variable ACR_REGISTRY']],
  [
    'Docker Hub without a user',
    { ACR_REGISTRY: 'a', HAS_ACR_PASSWORD: 'true', DOCKERHUB_NAMESPACE: 'acme' },
    '',
    ['Set the secrets DOCKERHUB_USERNAME'],
  ],
])('registry-settings: %s', async (_, given, output, words) => {
  const none = { ACR_REGISTRY: '', AZURE_CLIENT_ID: '', AZURE_TENANT_ID: '', AZURE_SUBSCRIPTION_ID: '' };
  const no = { DOCKERHUB_NAMESPACE: '', HAS_ACR_PASSWORD: 'false', HAS_DOCKERHUB_TOKEN: 'false' };
  const { code, stdout, written } = await withOutput((env) =>
    script('registry-settings', { ...none, ...no, ...given, ...env }),
  );
  expect([code, written.trim()]).toEqual([output === '' ? 1 : 0, output]);
  for (const word of words) expect(stdout).toContain(word);
});

test.each([
  ['AKS', { AKS_CLUSTER: 'a', AZURE_CLIENT_ID: 'c' }, ''],
  ['another cluster', { HAS_KUBECONFIG: 'true' }, ''],
  ['no registry', { ACR_REGISTRY: '', HAS_KUBECONFIG: 'true' }, 'the variable ACR_REGISTRY is not set'],
  ['no cluster', {}, 'there is no cluster: set the variables AKS_CLUSTER'],
  ['AKS without OIDC', { AKS_CLUSTER: 'a', HAS_KUBECONFIG: 'true' }, 'AKS_CLUSTER is set, and AZURE_CLIENT_ID is not'],
])('the settings of a deployment: %s', async (_, given, words) => {
  const base = { ACR_REGISTRY: 'a.azurecr.io', AZURE_CLIENT_ID: '', AKS_CLUSTER: '', HAS_KUBECONFIG: 'false' };
  const { code, stdout } = await step('deploy', 'helm', 'Settings', { ...base, ...given });
  expect([code, stdout]).toEqual(words === '' ? [0, ''] : [1, expect.stringContaining(`::error::${words}`)]);
});

test('release-version: only the tag of the version in package.json', async () => {
  const { version } = JSON.parse(await readFile(pathOf('package.json'), 'utf8')) as { version: string };
  expect(await script('release-version', { GITHUB_REF_NAME: `v${version}` })).toMatchObject({
    code: 0,
    stdout: `${version}\n`,
  });
  const { code, stderr } = await script('release-version', { GITHUB_REF_NAME: 'v99.0.0' });
  expect(code).toBe(1);
  expect(stderr).toContain(`package.json says ${version}: tag v${version}`);
});

describe('the names of an image', () => {
  const names = (more: Record<string, string>) =>
    withOutput((env) =>
      step('worker-image', 'push', 'Names', {
        IMAGE: 'team/greet',
        REGISTRY: 'example.azurecr.io',
        PLATFORMS: 'linux/arm64,linux/amd64',
        DOCKERHUB_NAMESPACE: '',
        DEFAULT_BRANCH: 'main',
        GITHUB_SHA: 'abc',
        GITHUB_REF: 'refs/heads/main',
        ...more,
        ...env,
      }),
    );

  test.each([
    ['refs/heads/main', 'latest'],
    ['refs/heads/other', ''],
    ['refs/pull/7/merge', ''],
    ['refs/tags/v1.2.3', '1.2.3'],
    ['refs/tags/v1.2.3-rc.1', '1.2.3-rc.1'],
    ['refs/tags/v1', ''],
    ['refs/tags/latest', ''],
  ])('%s is tagged with %j besides the commit', async (ref, tag) => {
    const { code, written } = await names({ GITHUB_REF: ref });
    expect(code).toBe(0);
    expect(written).toBe(
      `tag=${tag}\nplatforms=["linux/amd64","linux/arm64"]\nreferences<<END\nexample.azurecr.io/team/greet:abc\nEND\n`,
    );
  });

  test('with Docker Hub', async () => {
    const { written } = await names({ DOCKERHUB_NAMESPACE: 'acme', PLATFORMS: 'linux/amd64' });
    expect(written).toContain('platforms=["linux/amd64"]\n');
    expect(written).toContain('<<END\nexample.azurecr.io/team/greet:abc\ndocker.io/acme/team/greet:abc\nEND\n');
  });

  test.each([
    [{ IMAGE: 'Greet' }, 'image = "Greet"'],
    [{ IMAGE: 'greet:1' }, 'image = "greet:1"'],
    [{ REGISTRY: 'https://example.azurecr.io' }, 'registry = "https://example.azurecr.io"'],
    [{ PLATFORMS: 'linux/riscv64' }, 'platforms = "linux/riscv64"'],
    [{ PLATFORMS: '' }, 'platforms = ""'],
  ])('%j is refused', async (wrong, words) => {
    const { code, stdout } = await names(wrong);
    expect(code).toBe(1);
    expect(stdout).toContain(`::error::${words}`);
  });
});

/** Runs a script with a file for its outputs; `written` is what it wrote there. */
async function withOutput(
  start: (env: { readonly GITHUB_OUTPUT: string }) => Promise<Finished>,
): Promise<Finished & { readonly written: string }> {
  await using directory = await mkdtempDisposable(join(tmpdir(), 'slipway-output-'));
  const file = join(directory.path, 'output');
  await writeFile(file, '');
  const finished = await start({ GITHUB_OUTPUT: file });
  return { ...finished, written: await readFile(file, 'utf8') };
}

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}
