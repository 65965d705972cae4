/** `slipway explain`. */
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { HINTS } from '../contract/diagnosis.ts';
import { ANNOTATION, poisonQueueOf } from '../contract/identity.ts';
import { EXIT } from '../contract/runner-abi.ts';
import type { InvalidAccess, StorageAccess } from '../queue/access.ts';
import { refusalOf } from './ask.ts';
import type { Cluster, ClusterOptions } from './cluster.ts';
import { discoveredQueues } from './config-report.ts';
import { duration } from './durations.ts';
import { EXAMPLE_MESSAGE_ID, type Fate, fateOf } from './explain.ts';
import { explainArm } from './explain-arm.ts';
import { askCluster, type Word } from './explain-cluster.ts';
import { findOperators, readConfiguration } from './installation.ts';
import type { Output } from './output.ts';
import { paint } from './paint.ts';
import { ANY_ENVIRONMENT, readConfig } from './read-config.ts';
import type { ReadText } from './read-text.ts';
import { wrapped } from './wrap.ts';

/** What the command works with. */
export interface ExplainSurroundings extends Output {
  readonly readText: ReadText;
  openCluster(options: ClusterOptions): Cluster | { readonly problem: string };
  /** The storage account of the environment; it is not called. */
  storageAccess(): StorageAccess | InvalidAccess;
}

interface Options extends ClusterOptions {
  readonly config?: string;
  readonly queue?: string;
  readonly messageId?: string;
  readonly account?: string;
  readonly cluster?: boolean;
  readonly json?: boolean;
  readonly manifest?: boolean;
  readonly format?: 'arm';
}

/** Storage queues take no longer message. */
const MAX_MESSAGE_BYTES = 65_536;

/** Adds `explain`. */
export function addExplainCommand(
  program: Command,
  surroundings: ExplainSurroundings,
  exit: (code: number) => void,
): void {
  program
    .command('explain')
    .description('Tells what would become of a message, and shows the Job that it would get. Changes nothing.')
    .argument('<file>', 'the message as it stands in the queue, plain or base64; - for standard input')
    .option(
      '--config <file>',
      "the configuration, or the chart's values; without it that of the cluster's installation",
    )
    .option('--queue <name>', 'the queue that it is in; without it the first one that is configured')
    .option('--message-id <id>', 'the id that the queue gave it, which names its Job')
    .option('--account <name>', 'the storage account, which names its Job too; without it that of the environment')
    .option('--cluster', "ask the cluster of the kubeconfig's context: would it take the Job, why would it wait")
    .option('-n, --namespace <name>', 'the same, in this namespace')
    .option('--context <name>', 'the same, of another context of the kubeconfig')
    .option('--json', 'one JSON object')
    .option('--manifest', 'the Job alone, as YAML; with its namespace where a cluster is asked or ci.namespace is set')
    .addOption(
      new Option(
        '--format <format>',
        'arm: the container group that it would be on Azure Container Instances, as a deployment template',
      ).choices(['arm']),
    )
    .addHelpText(
      'after',
      `
A line break at the end of the file is not taken as part of the message.

Examples:
  slipway explain message.json --config values.yaml
  slipway explain message.json --config values.yaml --manifest | kubectl -n slipway apply --dry-run=server -f -
  slipway explain ci-message.json --config values.yaml --manifest | kubectl apply --dry-run=server -f -
  slipway explain message.json --config values.yaml --format arm > group.json
  az deployment group create --resource-group tasks --template-file group.json
  slipway explain message.json -n slipway --message-id 3f0b7a52-7c1e-4c5f-9d0a-5a3b1c2d4e6f
  slipway poison show acme-tasks ID --raw | slipway explain - -n slipway --queue acme-tasks

Exit codes: 0 it would become a Job, 1 it would not, 2 wrong usage, 78 wrong configuration.`,
    )
    .action(async (path: string, options: Options, command: Command) => {
      if ([options.json, options.manifest, options.format].filter(Boolean).length > 1)
        command.error('error: --json, --manifest and --format exclude each other');
      exit(await explain(surroundings, path, options, command));
    });
}

async function explain(
  surroundings: ExplainSurroundings,
  path: string,
  options: Options,
  command: Command,
): Promise<number> {
  const { out, err, clock } = surroundings;
  const asksCluster = options.cluster === true || options.namespace !== undefined || options.context !== undefined;
  if (options.config === undefined && !asksCluster)
    command.error('error: name the configuration by --config, or the installation that has it by -n or --cluster');
  const complain = (problem: string, code: number): number => {
    err(`slipway: ${problem}\n`);
    return code;
  };
  const raw = await surroundings.readText(path);
  if (typeof raw !== 'string') return complain(raw.problem, EXIT.failed);
  const text = raw.replace(/\r?\n$/, '');
  const cluster = asksCluster ? surroundings.openCluster(options) : undefined;
  if (cluster !== undefined && 'problem' in cluster) return complain(cluster.problem, EXIT.badConfig);

  const configuration = await configurationText(surroundings, cluster, options.config);
  if ('problem' in configuration) return complain(configuration.problem, configuration.code);
  const account = options.account ?? accountOf(surroundings.storageAccess());
  const read = readConfig(configuration.text, configuration.name, {
    account: account ?? ANY_ENVIRONMENT.account,
    namespace: cluster?.namespace ?? ANY_ENVIRONMENT.namespace,
  });
  if (read.kind === 'wrong') {
    for (const problem of read.problems) err(`slipway: ${problem}\n`);
    return EXIT.badConfig;
  }

  const messageId = options.messageId ?? EXAMPLE_MESSAGE_ID;
  const fate = fateOf(text, read.config, options.queue, messageId, clock.now());
  // The operator's own namespace is kubectl's to say where no cluster was named; that of a CI type is in the configuration.
  if (fate.kind === 'job' && cluster === undefined && fate.policy.ci?.namespace === undefined)
    delete fate.job.metadata?.namespace;
  if (options.manifest === true) {
    if (fate.kind !== 'job') return complain(`the message ${verdictOf(fate)}`, EXIT.failed);
    out(stringify(fate.job));
    return EXIT.done;
  }
  if (options.format === 'arm') {
    if (fate.kind !== 'job') return complain(`the message ${verdictOf(fate)}`, EXIT.failed);
    const arm = explainArm(fate.job, read.config.file.aci);
    if ('problems' in arm) {
      for (const problem of arm.problems) complain(problem, EXIT.failed);
      return EXIT.failed;
    }
    for (const one of arm.leftOut) err(`slipway: left out: ${one}\n`);
    out(arm.text);
    return EXIT.done;
  }
  const words =
    cluster === undefined || fate.kind !== 'job'
      ? []
      : await askCluster(cluster, read.config, fate, {
          isRealName: account !== undefined && options.messageId !== undefined,
          isRealAccount: account !== undefined,
        });
  const notAsked = leftOut(fate, account, options.messageId, cluster !== undefined);
  const isOversized = Buffer.byteLength(text) > MAX_MESSAGE_BYTES;
  const report: Report = { fate, words, notAsked, isOversized, bytes: Buffer.byteLength(text) };
  if (options.json === true) out(`${JSON.stringify(jsonOf(report), null, 2)}\n`);
  else write(surroundings, report);
  return fate.kind === 'job' && !words.some(({ about, state }) => about === 'admission' && state === 'bad')
    ? EXIT.done
    : EXIT.failed;
}

interface Report {
  readonly fate: Fate;
  readonly words: readonly Word[];
  /** What was not asked or is not known, each a sentence. */
  readonly notAsked: readonly string[];
  readonly isOversized: boolean;
  readonly bytes: number;
}

type Configuration =
  | { readonly text: string; readonly name: string }
  | { readonly problem: string; readonly code: number };

async function configurationText(
  { readText }: ExplainSurroundings,
  cluster: Cluster | undefined,
  path: string | undefined,
): Promise<Configuration> {
  if (path !== undefined) {
    const text = await readText(path);
    return typeof text === 'string'
      ? { text, name: path === '-' ? 'standard input' : path }
      : { ...text, code: EXIT.badConfig };
  }
  if (cluster === undefined) return { problem: 'no configuration was named', code: EXIT.badConfig };
  const { namespace } = cluster;
  const problem = (why: string) => ({ problem: `${why}. Name a file by --config`, code: EXIT.failed });
  const operators = await findOperators(cluster);
  if (!operators.ok) return problem(`the installation in ${namespace} cannot be read: ${refusalOf(operators.error)}`);
  const [operator] = operators.value;
  if (operator?.configMap === undefined) return problem(`there is no installation of Slipway in ${namespace}`);
  const text = await readConfiguration(cluster, operator.configMap);
  if (!text.ok) return problem(`the ConfigMap ${operator.configMap} cannot be read: ${refusalOf(text.error)}`);
  if (text.value === undefined) return problem(`the ConfigMap ${operator.configMap} has no config.yaml`);
  return { text: text.value, name: `ConfigMap ${operator.configMap}` };
}

function accountOf(access: StorageAccess | InvalidAccess): string | undefined {
  return access.kind === 'invalid' ? undefined : access.account;
}

function leftOut(
  fate: Fate,
  account: string | undefined,
  messageId: string | undefined,
  asked: boolean,
): readonly string[] {
  if (fate.kind !== 'job') return [];
  const unknown = [
    ...(account === undefined ? ['the storage account (--account)'] : []),
    ...(messageId === undefined ? ["the message's id (--message-id)"] : []),
  ];
  return [
    ...(unknown.length === 0
      ? []
      : [
          `The last part of the Job's name is an example${account === undefined ? ', and so is its label slipway.dev/installation' : ''}: not known is ${unknown.join(' nor ')}. Whether the message has a Job already was not asked.`,
        ]),
    ...(asked
      ? []
      : [
          'No cluster was asked: whether the API server takes the Job, and why it would wait, is told with -n NAMESPACE or --cluster.',
        ]),
  ];
}

/** The fate in one sentence. */
function verdictOf(fate: Fate): string {
  switch (fate.kind) {
    case 'job':
      return `would become the Job ${fate.job.metadata?.name ?? ''}`;
    case 'malformed':
      return `is malformed: ${fate.problems.map(({ field, message }) => `${field} ${message}`).join('; ')}`;
    case 'unknown-type':
      return `is of unknown type: task_type "${fate.taskType}" is not configured`;
    case 'not-received':
      return fate.queue === ''
        ? 'is in no queue: the configuration names none, and takes what discovery finds. Say which one it is in: --queue NAME'
        : `would not be received: the queue ${fate.queue} is not configured${fate.discovery === undefined ? '' : ', nor one that discovery takes'}`;
  }
}

/** What happens then, and what to do; undefined where the fate speaks for itself. */
function consequenceOf(fate: Fate): string | undefined {
  switch (fate.kind) {
    case 'job':
      return undefined;
    case 'malformed':
      return `goes to ${poisonQueueOf(fate.source.queue)}${fate.webhookUrl === undefined ? '' : `, and ${fate.webhookUrl} is told`}. ${HINTS.Malformed}`;
    case 'unknown-type':
      return `goes to ${poisonQueueOf(fate.source.queue)}. Configured: ${fate.known.join(', ')}. ${HINTS.UnknownTaskType}`;
    case 'not-received':
      return `stays where it is. ${receivedFrom(fate)}`;
  }
}

function receivedFrom({ queue, known, discovery }: Extract<Fate, { kind: 'not-received' }>): string {
  const named = known.length === 0 ? [] : [`Configured: ${known.join(', ')}`];
  const which = queue === '' ? '; --queue NAME says which' : '';
  // Discovery takes {client}-tasks alone, whatever its patterns let through.
  const found =
    discovery === undefined
      ? []
      : [`Discovery takes ${discoveredQueues(discovery)}, as far as they are called CLIENT-tasks${which}`];
  return [...named, ...found].join('. ');
}

function write({ out, colour, columns }: ExplainSurroundings, report: Report): void {
  const { fate, words, notAsked } = report;
  const facts: (readonly [name: string, value: string])[] = [];
  const consequence = consequenceOf(fate);
  if (consequence !== undefined) facts.push(['Then', consequence]);
  if (fate.kind !== 'not-received') facts.push(['Queue', `${fate.source.queue}, of client ${fate.source.client}`]);
  if (report.isOversized)
    facts.push([
      'Size',
      `${report.bytes} bytes: storage queues take at most ${MAX_MESSAGE_BYTES}, so it cannot be put`,
    ]);
  if (fate.kind === 'job') {
    const { policy } = fate;
    const { cpu, memory, ephemeralStorage } = policy.resources;
    facts.push(
      ['Message', `${fate.encoding === 'base64' ? 'JSON from base64' : 'plain JSON'}, ${report.bytes} bytes`],
      ['Task', fate.taskId],
      ['Type', policy.type === fate.taskType ? fate.taskType : `${fate.taskType}, by the settings of ${policy.type}`],
      ['Image', imageOf(fate)],
      [
        'Runs',
        `${policy.attempts === 1 ? 'once' : `up to ${policy.attempts} times`}, ${duration(policy.timeoutSeconds)} each; may take ${duration(policy.startTimeoutSeconds)} to start and wait ${duration(policy.unschedulableTimeoutSeconds)} for a node`,
      ],
      [
        'Resources',
        `cpu ${cpu}, memory ${memory}${ephemeralStorage === undefined ? '' : `, ephemeral storage ${ephemeralStorage}`}`,
      ],
    );
  }
  for (const word of words) facts.push([TITLES[word.about], word.text]);
  const isGood = fate.kind === 'job' && !words.some(({ state }) => state === 'bad');
  const verdict = `The message ${verdictOf(fate)}.`;
  out(
    `${wrapped('', verdict, columns).replaceAll(/^.*$/gm, (line) => paint(colour, isGood ? 'green' : 'red', line))}\n\n`,
  );
  for (const [name, value] of facts)
    out(`${wrapped(paint(colour, 'bold', `${name}:`.padEnd(LABEL_WIDTH)), value, columns, LABEL_WIDTH)}\n`);
  if (notAsked.length > 0) out('\n');
  for (const sentence of notAsked) out(`${wrapped('', sentence, columns)}\n`);
  if (fate.kind === 'job') out(`\n${stringify(fate.job)}`);
}

function imageOf({ policy, job }: Extract<Fate, { kind: 'job' }>): string {
  const built = job.metadata?.annotations?.[ANNOTATION.ciImage];
  if (built !== undefined) return `${built}, built by ${policy.ci?.builder.image ?? ''}`;
  return `${policy.image} (${policy.runner === 'slipway' ? "Slipway's runner" : 'foreign'})`;
}

const LABEL_WIDTH = 12;

const TITLES: Readonly<Record<Word['about'], string>> = {
  admission: 'Admission',
  existing: 'Its Job',
  slots: 'Slots',
  paused: 'Operator',
};

function jsonOf({ fate, words, notAsked, bytes }: Report): object {
  const told = { verdict: fate.kind, sentence: `The message ${verdictOf(fate)}.`, bytes };
  if (fate.kind === 'not-received')
    return { ...told, queue: fate.queue, configured: fate.known, discovery: fate.discovery ?? null };
  const common = { ...told, queue: fate.source.queue, client: fate.source.client };
  if (fate.kind === 'malformed') return { ...common, problems: fate.problems, webhookUrl: fate.webhookUrl ?? null };
  if (fate.kind === 'unknown-type') return { ...common, taskType: fate.taskType, configured: fate.known };
  const { taskId, taskType, encoding, policy, job } = fate;
  const { webhookSettings: _webhookSettings, ...rest } = policy;
  return { ...common, encoding, taskId, taskType, policy: rest, cluster: words, notAsked, job };
}
