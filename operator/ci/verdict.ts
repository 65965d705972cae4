/**
 * How a CI task ended, by the ends of its containers. Pure.
 *
 * Failing tests are a result, not a failure of the task: it has done what it was asked for. A clone, a build or a push that fails is one, and
 * uses up an attempt.
 */
import { parseCiReport } from '../../contract/ci-report.ts';
import { type Diagnosis, diagnose } from '../../contract/diagnosis.ts';

/** How a container ended. Times are milliseconds since the epoch. */
export interface ContainerEnd {
  readonly exitCode: number;
  /** Kubernetes' own, such as Completed, Error, OOMKilled. */
  readonly reason: string;
  /** The termination message, or, of a container that failed without one, the last lines of its log. */
  readonly message: string;
  readonly startedAt: number | undefined;
  readonly finishedAt: number | undefined;
}

/** The containers of the pod that have ended. */
export type CiEnds = Readonly<Partial<Record<'clone' | 'build' | 'task' | 'report', ContainerEnd>>>;

/** What is told of a task that did what it was asked for. */
export interface CiResult {
  readonly conclusion: 'success' | 'failure';
  readonly commit: string | undefined;
  readonly image: string;
  /** `sha256:…`, as the registry has it. */
  readonly digest: string | undefined;
  readonly exitCode: number;
  /** Seconds of each stage, where they are known. */
  readonly stages: Readonly<Partial<Record<'clone' | 'build' | 'test', number>>>;
  readonly tests: unknown;
  readonly artifacts: unknown;
  readonly problems: readonly string[];
  readonly reportUrl: string | undefined;
  /** The last lines of tests that failed. */
  readonly logTail: string | undefined;
}

/** Completed with a result, failed, or not the containers' own doing: a deadline, a lost node, a pod that did not start. */
export type CiVerdict =
  | { readonly kind: 'completed'; readonly result: CiResult }
  | { readonly kind: 'failed'; readonly diagnosis: Diagnosis }
  | { readonly kind: 'other' };

const LONGEST_WORDS = 1500;
const OUT_OF_MEMORY = 'OOMKilled';

/** @param image with its tag */
export function ciVerdict(ends: CiEnds, image: string): CiVerdict {
  const { clone, build, task } = ends;
  if (clone !== undefined && clone.exitCode !== 0) return failed(cloneFailure(clone));
  if (build !== undefined && build.exitCode !== 0) return failed(buildFailure(build));
  if (task === undefined) return { kind: 'other' };
  return { kind: 'completed', result: resultOf(ends, task, image) };
}

function failed(diagnosis: Diagnosis): CiVerdict {
  return { kind: 'failed', diagnosis };
}

function resultOf({ clone, build, report }: CiEnds, task: ContainerEnd, image: string): CiResult {
  const told = parseCiReport(report?.message ?? '');
  const isSuccess = task.exitCode === 0;
  return {
    conclusion: isSuccess ? 'success' : 'failure',
    commit: matching(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/, clone),
    image,
    digest: matching(/^sha256:[0-9a-f]{64}$/, build),
    exitCode: task.exitCode,
    stages: { ...seconds('clone', clone), ...seconds('build', build), ...seconds('test', task) },
    tests: told?.tests,
    artifacts: told?.artifacts ?? [],
    problems:
      told?.problems ??
      (report === undefined ? [] : ['the sidecar that collects reports and artifacts has said nothing']),
    reportUrl: told?.url,
    logTail: isSuccess ? undefined : lastWords(task.message),
  };
}

function matching(pattern: RegExp, end: ContainerEnd | undefined): string | undefined {
  const text = end?.message.trim() ?? '';
  return pattern.test(text) ? text : undefined;
}

function seconds(stage: string, end: ContainerEnd | undefined): Readonly<Record<string, number>> {
  if (end?.startedAt === undefined || end.finishedAt === undefined) return {};
  return { [stage]: Math.max(0, end.finishedAt - end.startedAt) / 1000 };
}

function cloneFailure(end: ContainerEnd): Diagnosis {
  return diagnose(
    'CloneFailed',
    `the repository could not be cloned (exit code ${end.exitCode}): ${lastWords(end.message)}`,
  );
}

/**
 * Kaniko exits with a failing RUN's own code, else with 1, so that its code tells nothing; the beginning of its last error line does, as far as
 * it goes: the executor's own words, in its cmd/root.go.
 */
const TROUBLE: readonly (readonly [pattern: RegExp, category: 'PushFailed' | 'BuildFailed', what: string])[] = [
  [/\berror checking push permissions/, 'PushFailed', 'the image may not be pushed there'],
  [/\berror pushing image/, 'PushFailed', 'the image was built, and could not be pushed'],
  [/\berror resolving (?:dockerfile path|source context)/, 'BuildFailed', 'the Dockerfile or its context is not there'],
  [/MANIFEST_UNKNOWN|UNAUTHORIZED|NAME_UNKNOWN|DENIED/, 'BuildFailed', 'a base image cannot be read'],
];

const OF_A_STEP = [/./, 'BuildFailed', 'a step of the Dockerfile failed'] as const;

function buildFailure(end: ContainerEnd): Diagnosis {
  const words = lastWords(end.message);
  if (end.reason === OUT_OF_MEMORY || end.exitCode === 137)
    return diagnose(
      'OutOfMemory',
      `the build was killed (exit code ${end.exitCode}, ${end.reason || 'no reason given'})`,
    );
  const [, category, what] = TROUBLE.find(([pattern]) => pattern.test(end.message)) ?? OF_A_STEP;
  return diagnose(category, `${what} (exit code ${end.exitCode}): ${words}`);
}

function lastWords(text: string): string {
  return text.trim().slice(-LONGEST_WORDS).toWellFormed() || 'it has said nothing';
}
