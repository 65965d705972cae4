/**
 * How a CI task ended, by the ends of its containers. Pure.
 *
 * Failing tests are a result, not a failure of the task: it has done what it was asked for. A clone, a build or a push that fails is one, and
 * uses up an attempt.
 */
import { parseCiReport } from '../../contract/ci-report.ts';
import type { CiResult } from '../../contract/ci-result.ts';
import { type Category, type Diagnosis, diagnose } from '../../contract/diagnosis.ts';
import { speaksOfRights } from '../jobs/rights.ts';
import { CLONE_EXIT } from './clone.ts';

/** How a container ended. Times are milliseconds since the epoch. */
export interface ContainerEnd {
  readonly exitCode: number;
  /** Kubernetes' own, such as Completed, Error, OOMKilled, StartError. */
  readonly reason: string;
  /** The termination message, or, of a container that failed without one, the last lines of its log. */
  readonly message: string;
  readonly startedAt: number | undefined;
  readonly finishedAt: number | undefined;
}

/** The containers of the pod that have ended, and the digest of the image that the node pulled for the tests: `sha256:…`. */
export type CiEnds = Readonly<Partial<Record<'clone' | 'build' | 'task' | 'report', ContainerEnd>>> & {
  readonly digest?: string;
};

/** Completed, failed, or not the containers' own doing: a deadline, a lost node, a pod that did not start. */
export type CiVerdict =
  | { readonly kind: 'completed'; readonly result: CiResult }
  | { readonly kind: 'failed'; readonly diagnosis: Diagnosis; readonly result: CiResult }
  | { readonly kind: 'other'; readonly result: CiResult };

const LONGEST_WORDS = 1500;
/** Of a diagnosis, which is a line of an Event too; the last lines are in the result. */
const LONGEST_LINE = 600;
const OUT_OF_MEMORY = 'OOMKilled';
/** By SIGKILL. A container that dies for memory within milliseconds of its start often has the reason Error, so the code decides too. */
const KILLED = 137;

/**
 * Judges.
 *
 * @param image with its tag
 * @param cutOff whether the pod was ended from outside: what became of the tests is then not their own doing
 */
export function ciVerdict(ends: CiEnds, image: string, cutOff = false): CiVerdict {
  const { clone, build, task } = ends;
  const result = resultOf(ends, image, cutOff);
  if (lostEnd(ends) !== undefined) return { kind: 'failed', diagnosis: nodeLost(ends), result };
  if (clone !== undefined && clone.exitCode !== 0) return { kind: 'failed', diagnosis: cloneFailure(clone), result };
  if (build !== undefined && build.exitCode !== 0) return { kind: 'failed', diagnosis: buildFailure(build), result };
  if (task === undefined) return { kind: 'other', result };
  if (couldNotStart(task)) return { kind: 'failed', diagnosis: startFailure(task), result };
  return { kind: 'completed', result };
}

/** The containerd of a node that was rebooted, and a kubelet that has lost a container: their exit code is nobody's. */
const LOST: readonly string[] = ['Unknown', 'ContainerStatusUnknown'];

/** The end of the stage of which the node does not know how it ended. */
function lostEnd({ clone, build, task }: CiEnds): ContainerEnd | undefined {
  return [clone, build, task].find((end) => end !== undefined && end.exitCode !== 0 && LOST.includes(end.reason));
}

function nodeLost(ends: CiEnds): Diagnosis {
  const text = `the node does not know how the ${stageOf(ends)} ended: it, or its container runtime, was restarted meanwhile`;
  return diagnose('NodeLost', text);
}

/** The stage at which it was cut off, for people. */
export function stageOf({ clone, build }: CiEnds): 'clone' | 'build' | 'tests' {
  return clone?.exitCode !== 0 ? 'clone' : build?.exitCode !== 0 ? 'build' : 'tests';
}

/** What is known of a task whose pod is gone, by its Job's end: an exit code of 0 made it Complete. */
export function resultWithoutPod(image: string, isSuccess: boolean): CiResult {
  return {
    ...resultOf({}, image),
    conclusion: isSuccess ? 'success' : 'failure',
    problems: ['the pod is gone, and what its containers said with it'],
  };
}

function resultOf(ends: CiEnds, image: string, cutOff = false): CiResult {
  const { clone, build, task, report, digest } = ends;
  const told = parseCiReport(report?.message ?? '');
  const isOwnEnd = !cutOff && lostEnd(ends) === undefined;
  const isSuccess = isOwnEnd && task?.exitCode === 0;
  return {
    conclusion: isSuccess ? 'success' : 'failure',
    ...given('commit', commitOf(clone)),
    image,
    ...given('digest', digest),
    ...given('exit_code', !isOwnEnd || task === undefined || couldNotStart(task) ? undefined : task.exitCode),
    stage_seconds: { ...seconds('clone', clone), ...seconds('build', build), ...seconds('test', task) },
    ...given('tests', told?.tests),
    artifacts: told?.artifacts ?? [],
    artifact_count: told?.artifactCount ?? 0,
    problems: [
      ...(task === undefined || !isOwnEnd ? [] : troubleOfTests(task)),
      // Where no test ran, reports and artifacts are not missing.
      ...(report === undefined || task === undefined
        ? []
        : (told?.problems ?? ['the sidecar that collects reports and artifacts has said nothing'])),
    ],
    ...given('report_url', told?.url),
    ...given('log_tail', logTail(ends)),
  };
}

/** The last lines of the stage that failed; undefined where it printed none, or the node had just begun another file for them. */
function logTail({ clone, build, task }: CiEnds): string | undefined {
  const failed = [clone, build, task].find((end) => end !== undefined && end.exitCode !== 0);
  if (failed === undefined || failed.message.trim() === '') return undefined;
  return failed === build ? lastLines(failed.message) : lastWords(failed.message);
}

/** A field, where there is a value for it. */
function given<K extends string, V>(name: K, value: V | undefined): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [key in K]?: V });
}

/** What the tests' end tells beside their exit code. */
function troubleOfTests({ exitCode, reason, message }: ContainerEnd): string[] {
  if (reason === OUT_OF_MEMORY)
    return ['OutOfMemory: the tests were killed for memory. Raise resources.memory of the task type'];
  if (exitCode === KILLED)
    return [
      'Killed: the tests were ended by SIGKILL: by themselves, or for memory (resources.memory of the task type)',
    ];
  if (exitCode !== 0 && speaksOfRights(message))
    return [
      'RightRefused: the tests were refused a right. They run without capabilities, as root too: install packages and change owners in the Dockerfile, or name a user by ci.test.user',
    ];
  if (exitCode !== 0 && /exec format error/i.test(message))
    return [
      'NotExecutable: the node cannot run what payload.test.command names: a script without #! in its first line, or an image that was built for another platform',
    ];
  return [];
}

function couldNotStart({ reason }: ContainerEnd): boolean {
  return reason === 'StartError' || reason === 'ContainerCannotRun';
}

function startFailure({ message }: ContainerEnd): Diagnosis {
  const isShell = /\/bin\/sh\b.*(no such file|not found)/i.test(message);
  const isCommand = /\bexec: |no such file|not found|permission denied|not a directory/i.test(message);
  const remedy = isShell
    ? '. The image has no shell: give payload.test.command as a list, which is run as it is'
    : isCommand
      ? '. Check payload.test.command'
      : '';
  // Of the message, not of the type: such tasks must not pause it.
  return diagnose('TaskFailed', `the tests could not start: ${lastWords(message)}${remedy}`);
}

function commitOf(clone: ContainerEnd | undefined): string | undefined {
  const text = clone?.message.trim() ?? '';
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text) ? text : undefined;
}

function seconds(stage: string, end: ContainerEnd | undefined): Readonly<Record<string, number>> {
  if (end?.startedAt === undefined || end.finishedAt === undefined) return {};
  return { [stage]: Math.max(0, end.finishedAt - end.startedAt) / 1000 };
}

function cloneFailure({ exitCode, reason, message }: ContainerEnd): Diagnosis {
  if (reason === OUT_OF_MEMORY)
    return diagnose(
      'OutOfMemory',
      'the clone was killed for memory. Raise ci.builder.resources.memory of the task type',
    );
  const lines = lastWords(message).split('\n');
  // What git says after its reason is advice in general.
  const isOwn = Object.values<number>(CLONE_EXIT).includes(exitCode);
  const told = isOwn ? undefined : lines.findLast((line) => /^(?:fatal|error): /.test(line));
  const last = (told ?? lines.at(-1) ?? '').replace(/^(?:fatal|error): /, '');
  if (exitCode === CLONE_EXIT.nothingToBuild) return diagnose('BuildFailed', `there is nothing to build: ${last}`);
  return diagnose('CloneFailed', `the repository could not be cloned (exit code ${exitCode}): ${last}`);
}

/**
 * The executor exits with a failing RUN's own code, else with 1, so that its code tells nothing. Its last line that begins as one of its errors
 * does tell; not any line, since the log repeats the Dockerfile and what its commands print, which may come after that line too. Each was seen
 * to be printed by v1.28.3.
 */
const ERROR_LINE = /^error (?:building image|checking push permissions|pushing image)\b.*$/gm;

const TROUBLE: readonly (readonly [pattern: RegExp, category: Category, what: string])[] = [
  [
    /^error checking push permissions: .*(?:creating push check transport|dial tcp|no such host|connection refused|timeout)/,
    'RegistryFailed',
    'the registry that the image is to be pushed to does not answer',
  ],
  [/^error checking push permissions\b/, 'PushFailed', 'the image may not be pushed there'],
  [/^error pushing image\b/, 'PushFailed', 'the image was built, and could not be pushed'],
  [
    /^error building image: .*signal: killed$/,
    'OutOfMemory',
    'a step of the Dockerfile was killed, most likely for memory',
  ],
  [
    /^error building image: (?:error building stage: failed to get filesystem from image: )?(?:unable to complete operation after \d+ attempts|GET https?:|Get "https?:)/,
    'RegistryFailed',
    'a base image cannot be read',
  ],
  [/^error building image: could not parse reference:/, 'BuildFailed', 'a FROM names no image'],
  [
    /^error building image: (?:parsing dockerfile|error finding target stage):/,
    'BuildFailed',
    'the Dockerfile is not valid',
  ],
  [
    /^error building image: error building stage: failed to get files used from context:/,
    'BuildFailed',
    'a COPY or ADD names what is not in the context',
  ],
];

/** Its last line where it does not take its arguments; the reason stands before pages of usage. */
const USAGE = /Use "executor \[command\] --help" for more information about a command\.\s*$/;

function buildFailure({ exitCode, reason, message }: ContainerEnd): Diagnosis {
  if (reason === OUT_OF_MEMORY || exitCode === KILLED) {
    const killed = `the build was killed (exit code ${exitCode}, ${reason || 'no reason given'})`;
    return diagnose('OutOfMemory', `${killed}. Raise ci.builder.resources.memory of the task type`);
  }
  // Not ContainerConfig, which would be a failure of the type: a Dockerfile can have the same said.
  if (USAGE.test(message))
    return diagnose(
      'BuildFailed',
      'the builder refuses its arguments: check ci.builder.flags of the task type, and its log',
    );
  const line = message.match(ERROR_LINE)?.at(-1) ?? '';
  const [, category, what] = TROUBLE.find(([pattern]) => pattern.test(line)) ?? OF_A_STEP;
  const words = line === '' ? (lastLines(message).split('\n').at(-1) ?? '') : line;
  return diagnose(category, `${what} (exit code ${exitCode}): ${words.slice(0, LONGEST_LINE)}`);
}

const OF_A_STEP = [/./, 'BuildFailed', 'a step of the Dockerfile failed'] as const;

/** The end of a text, as many whole lines as fit. */
function lastWords(text: string): string {
  const trimmed = text.trim();
  if (trimmed.length <= LONGEST_WORDS) return trimmed.toWellFormed() || 'it has said nothing';
  const end = trimmed.slice(-LONGEST_WORDS);
  return end.slice(end.indexOf('\n') + 1).toWellFormed();
}

/** What a log is cut to when it becomes a termination message; its first line may then be half a line. */
const CUT_BYTES = 2000;
/** What Kaniko says of itself before it does anything. */
const PREAMBLE =
  /^(?:active feature flags|credential providers|Retrieving image|Returning cached image|Built cross stage deps)\b.*\n/gm;

/** The builder's log, less what stands around each of its own lines. */
function lastLines(log: string): string {
  const whole = Buffer.byteLength(log) < CUT_BYTES ? log : log.slice(log.indexOf('\n') + 1);
  const bare = whole.replaceAll(/^time="[^"]*" level=\w+ msg="(.*)"$/gm, (_, text: string) =>
    text.replaceAll('\\"', '"'),
  );
  return lastWords(bare.replaceAll(PREAMBLE, ''));
}
