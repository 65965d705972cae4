import { describe, expect, test } from 'vitest';
import { formatCiReport } from '../../contract/ci-report.ts';
import { type CiEnds, type ContainerEnd, ciVerdict, stageOf } from './verdict.ts';

const IMAGE = 'registry.example.com/ci/acme/app:abc';
const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const DIGEST = `sha256:${'ab'.repeat(32)}`;
const T = Date.UTC(2026, 0, 1);

const end = (message = '', more: Partial<ContainerEnd> = {}): ContainerEnd => ({
  exitCode: 0,
  reason: 'Completed',
  message,
  startedAt: T,
  finishedAt: T + 2500,
  ...more,
});
const broken = (exitCode: number, message: string, reason = 'Error') => end(message, { exitCode, reason });
const REPORT = formatCiReport({
  v: 1,
  tests: {
    tests: 2,
    passed: 1,
    failed: 1,
    skipped: 0,
    failures: [{ name: 'b', message: 'no', kind: 'failure' }],
    slowest: [],
  },
  artifacts: [],
  artifactCount: 0,
  problems: [],
  url: 'https://blobs.example/report.json',
});
const GOOD: CiEnds = { clone: end(COMMIT), build: end(), task: end(), report: end(REPORT), digest: DIGEST };

test('a task whose tests passed', () => {
  expect(ciVerdict(GOOD, IMAGE)).toEqual({
    kind: 'completed',
    result: {
      conclusion: 'success',
      commit: COMMIT,
      image: IMAGE,
      digest: DIGEST,
      exit_code: 0,
      stage_seconds: { clone: 2.5, build: 2.5, test: 2.5 },
      tests: expect.objectContaining({ tests: 2, failed: 1 }),
      artifacts: [],
      artifact_count: 0,
      problems: [],
      report_url: 'https://blobs.example/report.json',
    },
  });
});

test('failing tests are a result, with their last words', () => {
  expect(ciVerdict({ ...GOOD, task: broken(2, 'make: *** [test] Error 2\n') }, IMAGE)).toMatchObject({
    kind: 'completed',
    result: { conclusion: 'failure', exit_code: 2, log_tail: 'make: *** [test] Error 2' },
  });
});

describe('what failed is told apart', () => {
  test.each<[string, CiEnds, string, RegExp]>([
    [
      'the clone',
      { clone: broken(128, 'fatal: could not read Username') },
      'CloneFailed',
      /exit code 128.*could not read Username/,
    ],
    [
      'a clone, with git’s advice after its reason',
      {
        clone: broken(
          128,
          'cloning x\nfatal: repository not found\nPlease make sure you have the correct access rights\nand the repository exists.\n',
        ),
      },
      'CloneFailed',
      /exit code 128\): repository not found$/,
    ],
    [
      'a repository without what is to be built',
      { clone: broken(66, 'cloning https://x at y\nthe repository has no file Dockerfile at commit ab') },
      'BuildFailed',
      /^there is nothing to build: the repository has no file Dockerfile at commit ab$/,
    ],
    ['a clone for memory', { clone: broken(137, '', 'OOMKilled') }, 'OutOfMemory', /the clone was killed/],
    ['memory', { clone: end(COMMIT), build: broken(137, '', 'OOMKilled') }, 'OutOfMemory', /the build was killed/],
  ])('%s', (_, ends, category, words) => {
    expect(ciVerdict(ends, IMAGE)).toMatchObject({
      kind: 'failed',
      result: { conclusion: 'failure', image: IMAGE },
      diagnosis: { category, message: expect.stringMatching(words), hint: expect.any(String) },
    });
  });
});

describe('the log of a build that failed', () => {
  const tail = (log: string) => ciVerdict({ clone: end(COMMIT), build: broken(1, log) }, IMAGE).result.log_tail;

  test('is told without what stands around each line, and what the builder says of itself', () => {
    const around = (text: string) => `time="2026-11-26T06:10:19Z" level=info msg="${text}"\n`;
    const log = `${around('Retrieving image r/x:1')}${around('RUN echo \\"a\\"')}a\nerror building image: x`;
    expect(tail(log)).toBe('RUN echo "a"\na\nerror building image: x');
  });

  test('is left out where there is none', () => {
    expect(tail('\n')).toBeUndefined();
    expect(ciVerdict({ ...GOOD, task: broken(1, '') }, IMAGE).result).not.toHaveProperty('log_tail');
  });

  test('begins with a whole line where it was cut', () => {
    expect(tail(`${'half a line '.repeat(200)}\na\nb`)).toBe('a\nb');
    const long = tail(Array.from({ length: 190 }, (_, at) => `line ${at} ..`).join('\n'));
    expect(long).toMatch(/^line \d+ \.\.\nline/);
    expect(long).toMatch(/line 189 \.\.$/);
  });

  test('is in the result; the diagnosis has the one line that tells', () => {
    expect(ciVerdict({ build: broken(1, 'a\nerror building image: x\nb') }, IMAGE)).toMatchObject({
      diagnosis: { message: 'a step of the Dockerfile failed (exit code 1): error building image: x' },
      result: { log_tail: 'a\nerror building image: x\nb' },
    });
  });
});

/** The last lines that Kaniko v1.28.3 printed for each, as they were seen. */
describe('a build that failed', () => {
  const STAGE = 'error building image: error building stage:';
  test.each<[string, number, string, string, RegExp]>([
    [
      'a RUN',
      3,
      `${STAGE} failed to execute command: waiting for process to exit: exit status 3`,
      'BuildFailed',
      /^a step .*\(exit code 3\)/,
    ],
    [
      'a RUN for memory',
      255,
      `${STAGE} failed to execute command: waiting for process to exit: signal: killed`,
      'OutOfMemory',
      /most likely for memory/,
    ],
    [
      'the right to push',
      1,
      'error checking push permissions: checking push permission for "r/x": POST http://r/v2/x/blobs/uploads/: UNAUTHORIZED: authentication required; []',
      'PushFailed',
      /may not be pushed/,
    ],
    [
      'a registry that is away',
      1,
      'error checking push permissions: checking push permission for "r/x": creating push check transport for r failed: Get "https://r/v2/": dial tcp: lookup r: no such host',
      'RegistryFailed',
      /does not answer/,
    ],
    [
      'the push',
      1,
      'error pushing image: failed to push to destination r/x: PUT http://r/v2/x/manifests/1: DENIED: quota exceeded',
      'PushFailed',
      /could not be pushed/,
    ],
    [
      'no base image',
      1,
      'error building image: unable to complete operation after 3 attempts, last error: GET http://r/v2/nothing/manifests/1: MANIFEST_UNKNOWN: manifest unknown',
      'RegistryFailed',
      /a base image cannot be read/,
    ],
    [
      'a base that is throttled',
      1,
      'error building image: unable to complete operation after 3 attempts, last error: GET https://r/v2/x: TOOMANYREQUESTS: slow down',
      'RegistryFailed',
      /a base image/,
    ],
    [
      'a layer that is not given',
      1,
      `${STAGE} failed to get filesystem from image: GET http://r/v2/x/blobs/y: unexpected status code 502`,
      'RegistryFailed',
      /a base image/,
    ],
    ['an empty FROM', 1, 'error building image: could not parse reference: ', 'BuildFailed', /a FROM names no image/],
    [
      'a wrong Dockerfile',
      1,
      'error building image: parsing dockerfile: dockerfile parse error on line 3: unknown instruction: RUNN',
      'BuildFailed',
      /not valid/,
    ],
    [
      'no such stage',
      1,
      'error building image: error finding target stage: "nope" is not a valid target build stage',
      'BuildFailed',
      /not valid/,
    ],
    [
      'a COPY of nothing',
      1,
      `${STAGE} failed to get files used from context: failed to get fileinfo for /kaniko/workspace/absent.txt: lstat: no such file`,
      'BuildFailed',
      /not in the context/,
    ],
    [
      'its arguments',
      1,
      'Error: unknown flag: --nope\nUsage:\n\nUse "executor [command] --help" for more information about a command.\n',
      'BuildFailed',
      /refuses its arguments/,
    ],
    [
      'a RUN that speaks as a registry',
      1,
      `npm error 401 UNAUTHORIZED\n  error pushing image: no\n${STAGE} failed to execute command: waiting for process to exit: exit status 1`,
      'BuildFailed',
      /^a step/,
    ],
    [
      'a RUN whose words come last',
      1,
      `error checking push permissions: DENIED\nand then some more`,
      'PushFailed',
      /may not be pushed/,
    ],
    ['nothing that is known', 2, 'x', 'BuildFailed', /^a step of the Dockerfile failed \(exit code 2\)/],
  ])('%s', (_, exitCode, words, category, message) =>
    expect(
      ciVerdict({ clone: end(COMMIT), build: broken(exitCode, `INFO[0001] Building\n${words}\n`) }, IMAGE),
    ).toMatchObject({
      kind: 'failed',
      diagnosis: { category, message: expect.stringMatching(message) },
    }),
  );
});

test.each<[string, CiEnds]>([
  ['a pod that is cut off before its tests', { clone: end(COMMIT), build: end() }],
  ['one of which nothing ran', {}],
])('%s is not judged here, and what is known is told', (_, ends) =>
  expect(ciVerdict(ends, IMAGE)).toMatchObject({
    kind: 'other',
    result: {
      conclusion: 'failure',
      ...(ends.clone && { commit: COMMIT }),
      problems: [],
    },
  }),
);

test('what is not said is not known', () => {
  const told = ciVerdict(
    { clone: end('nonsense'), build: end(''), task: end('', { startedAt: undefined }), report: end('killed') },
    IMAGE,
  );
  expect(told).toEqual({
    kind: 'completed',
    result: {
      conclusion: 'success',
      image: IMAGE,
      exit_code: 0,
      stage_seconds: { clone: 2.5, build: 2.5 },
      artifacts: [],
      artifact_count: 0,
      problems: [expect.stringContaining('has said nothing')],
    },
  });
});

describe('tests that ended otherwise than by failing', () => {
  const problemsOf = (task: ContainerEnd) => {
    const told = ciVerdict({ ...GOOD, task }, IMAGE);
    return told.kind === 'completed' ? told.result.problems : told;
  };
  test.each<[string, ContainerEnd, RegExp]>([
    ['for memory', broken(137, '', 'OOMKilled'), /^OutOfMemory: .*resources\.memory/],
    ['by a kill of their own', broken(137, ''), /^Killed: .*by themselves, or for memory/],
    ['for a right', broken(100, 'E: setgroups: Operation not permitted'), /^RightRefused: .*ci\.test\.user/],
    ['for being no program', broken(255, 'exec /run-tests: exec format error'), /^NotExecutable: .*without #!/],
  ])('%s', (_, task, problem) => expect(problemsOf(task)).toEqual([expect.stringMatching(problem)]));

  test('a pod without tests does not say that their reports are missing', () => {
    const report = end(JSON.stringify({ v: 1, artifacts: [], artifactCount: 0, problems: ['no report matches x'] }));
    expect(ciVerdict({ clone: end(COMMIT), build: broken(1, 'x'), report }, IMAGE).result.problems).toEqual([]);
    expect(ciVerdict({ ...GOOD, report }, IMAGE).result.problems).toEqual(['no report matches x']);
  });

  test('and never began: that is no result of theirs', () => {
    const message = 'exec: "/bin/sh": stat /bin/sh: no such file or directory';
    expect(ciVerdict({ ...GOOD, task: broken(128, message, 'StartError') }, IMAGE)).toMatchObject({
      kind: 'failed',
      diagnosis: {
        category: 'TaskFailed',
        message: expect.stringMatching(/no shell: give payload\.test\.command as a list/),
      },
      result: expect.not.objectContaining({ exit_code: 128 }),
    });
    const ofTheNode = 'failed to create shim task: context deadline exceeded';
    const told = ciVerdict({ ...GOOD, task: broken(128, ofTheNode, 'StartError') }, IMAGE);
    expect(told).toMatchObject({ diagnosis: { message: expect.stringMatching(/context deadline exceeded$/) } });
  });
});

test.each<[CiEnds, string]>([
  [{}, 'clone'],
  [{ clone: end(COMMIT) }, 'build'],
  [GOOD, 'tests'],
])('the stage at which it was cut off', (ends, stage) => expect(stageOf(ends)).toBe(stage));
