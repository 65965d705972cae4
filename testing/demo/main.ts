/** `make demo`: the whole way of a message on this machine, without a cluster and without Azure. */
import { parseArgs } from 'node:util';
import { systemClock } from '#/lib/clock.ts';
import { messageOf } from '#/lib/errors.ts';
import { listenForSignals } from '#/lib/lifecycle.ts';
import { clients, produce } from '#/testing/demo/messages.ts';
import { type Observed, observe } from '#/testing/demo/observed.ts';
import { lines, liveTable, type Progress } from '#/testing/demo/progress.ts';
import { report } from '#/testing/demo/report.ts';
import { columns, paint } from '#/testing/demo/text.ts';
import { shortcomings } from '#/testing/demo/verdict.ts';
import { MAX_RUNNING, startWorld, type World } from '#/testing/demo/world.ts';

const HELP = `Slipway's demo: messages of two clients become Jobs, run, report and leave.

Usage: npm run demo -- [--verbose]

  --verbose   print the operator's log to standard error instead of keeping it in its file only
  --help      print this

It needs no cluster and no cloud account. Azurite stands for Azure Storage, an in-process store for the Kubernetes API,
child processes for pods. The operator and the runner are the real ones. It ends by itself, within a minute:
with 0 if every message ended as it should, with 1 if one did not, with 130 when it was interrupted.
`;

const LIMIT_MS = 60_000;
const LOOK_EVERY_MS = 150;

process.exitCode = await main();

async function main(): Promise<number> {
  let verbose: boolean;
  try {
    const { values } = parseArgs({ options: { verbose: { type: 'boolean' }, help: { type: 'boolean' } } });
    if (values.help) {
      process.stdout.write(HELP);
      return 0;
    }
    verbose = values.verbose ?? false;
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n\n${HELP}`);
    return 2;
  }
  using lifecycle = listenForSignals();
  await using world = await startWorld(verbose);
  say(
    paint('Slipway runs every message of an Azure Storage queue as one Kubernetes Job.', 'heading'),
    'Here Azurite stands for Azure, and processes of this machine for pods. Operator and runner are the real ones.',
    '',
    ...columns([
      ["operator's log", { text: world.operatorLog, tone: 'quiet' }],
      ["tasks' logs", { text: world.taskLogs, tone: 'quiet' }],
    ]),
  );
  return await Promise.race([
    run(world, lifecycle.stopping, verbose),
    world.operator.then(() => Promise.reject(new Error('the operator has stopped by itself'))),
  ]);
}

async function run(world: World, stopping: AbortSignal, verbose: boolean): Promise<number> {
  using over = new DisposableStack();
  const ending = over.adopt(new AbortController(), (controller) => controller.abort());
  const look = observe(world, AbortSignal.any([stopping, ending.signal]));
  const from = systemClock.monotonic();
  const elapsedMs = () => systemClock.monotonic() - from;

  const messages = await produce(world.connectionString, (client) => `${world.sink.url}/${client.name}`);
  const queues = clients.map(({ queue, encoding }) => `${queue} (${encoding === 'plain' ? 'JSON' : encoding})`);
  say(
    '',
    paint(`${messages.length} messages in ${queues.join(' and ')}; ${MAX_RUNNING} tasks may run at once`, 'heading'),
  );
  const progress: Progress =
    process.stdout.isTTY && !verbose ? liveTable(messages, process.stdout) : lines(messages, process.stdout, elapsedMs);

  let seen: Observed;
  let missing: readonly string[];
  do {
    seen = await look();
    progress.show(seen);
    missing = shortcomings(messages, seen);
    if (missing.length > 0) await systemClock.sleep(LOOK_EVERY_MS, stopping);
  } while (missing.length > 0 && elapsedMs() < LIMIT_MS && !stopping.aborted);

  if (stopping.aborted) {
    say('', 'Interrupted.');
    return 130;
  }
  say(...report(messages, seen, systemClock.now(), process.stdout.columns), '');
  if (missing.length > 0) {
    say(
      paint(`After ${LIMIT_MS / 1000} s not everything is as it should be:`, 'bad'),
      ...missing.map((sentence) => `  - ${sentence}`),
      `The operator's log tells more: ${world.operatorLog}`,
    );
    return 1;
  }
  say(
    paint(`All ${messages.length} messages ended as they should, in ${Math.round(elapsedMs() / 1000)} s.`, 'good'),
    '',
    paint('Next', 'heading'),
    ...columns([
      ['README.md', 'your own cluster: build two images, helm install'],
      ['docs/handlers.md', 'a task type of your own, in ten minutes'],
      ['make test', 'the same on a real API server and a real node'],
    ]),
  );
  return 0;
}

function say(...text: readonly string[]): void {
  process.stdout.write(`${text.join('\n')}\n`);
}
