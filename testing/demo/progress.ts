/** What becomes of the messages while it happens: a table that renews itself on a terminal, a line for every change elsewhere. */
import type { SentMessage } from '#/testing/demo/messages.ts';
import type { Observed, SeenJob } from '#/testing/demo/observed.ts';
import { type Cell, columns, shorten, type Tone, tableOf } from '#/testing/demo/text.ts';

/** Where a message is on its way. */
interface State {
  readonly text: string;
  readonly tone: Tone;
}

/** Shows progress. */
export interface Progress {
  show(seen: Observed): void;
}

/** A table at the place where it stands, for a terminal. */
export function liveTable(messages: readonly SentMessage[], out: NodeJS.WriteStream): Progress {
  let drawn = '';
  let height = 0;
  return {
    show(seen) {
      const rows = messages.map((message): Cell[] => [
        message.client.name,
        message.taskId,
        { text: message.type ?? '-', tone: 'quiet' },
        stateOf(message, seen),
      ]);
      const lines = tableOf(['CLIENT', 'TASK', 'TYPE', 'STATE'], rows, out.columns);
      const text = `${lines.join('\n')}\n`;
      if (text === drawn) return;
      out.write(height === 0 ? text : `\u001b[${height}A\u001b[0J${text}`);
      [drawn, height] = [text, lines.length];
    },
  };
}

/** A line for each change, for files and logs. */
export function lines(messages: readonly SentMessage[], out: NodeJS.WritableStream, elapsedMs: () => number): Progress {
  const last = new Map<string, string>();
  const widest = Math.max(...messages.map(({ taskId }) => taskId.length));
  return {
    show(seen) {
      for (const message of messages) {
        const { text } = stateOf(message, seen);
        if (last.get(message.id) === text) continue;
        last.set(message.id, text);
        const at = `${(elapsedMs() / 1000).toFixed(1)} s`.padStart(6);
        const [line] = columns([[at, message.client.name.padEnd(6), message.taskId.padEnd(widest), text]]);
        out.write(`${line}\n`);
      }
    },
  };
}

function stateOf({ id, expected }: SentMessage, seen: Observed): State {
  const found = seen.jobs.get(id)?.[0];
  if (found !== undefined) return jobState(found, expected.kind === 'failed');
  const poisoned = seen.poison.find((envelope) => envelope.id === id);
  if (poisoned === undefined) return { text: 'in the queue', tone: 'quiet' };
  return { text: shorten(`poisoned: ${poisoned.diagnosis.message}`, 60), tone: 'refused' };
}

function jobState({ job, pods }: SeenJob, mayFail: boolean): State {
  const attempts = job.attempts > 1 && pods.length > 1 ? `, attempt ${pods.length} of ${job.attempts}` : '';
  if (job.end?.kind === 'complete') return { text: 'completed', tone: 'good' };
  if (job.end?.kind === 'failed') {
    const count = pods.length === 1 ? 'one attempt' : `${pods.length} attempts`;
    return { text: `failed after ${count}, poisoned`, tone: mayFail ? 'refused' : 'bad' };
  }
  switch (pods.at(-1)?.phase) {
    case 'Running':
      return { text: `running${attempts}`, tone: 'busy' };
    case 'Failed':
      return { text: `attempt ${pods.length} of ${job.attempts} failed`, tone: 'busy' };
    default:
      return { text: `starting${attempts}`, tone: 'busy' };
  }
}
