/** TASK_DATA → a task. */
import { decodeMessage, type Encoding, type Problem, type Task, validateTask } from '../contract/message.ts';
import { PermanentError } from './errors.ts';

/** What TASK_DATA holds. Of an invalid task, id and webhook URL are given as far as they can be read: its failure is reported too. */
export type TaskReading =
  | { readonly kind: 'valid'; readonly task: Task }
  | {
      readonly kind: 'invalid';
      readonly error: PermanentError;
      readonly taskId: string | undefined;
      readonly webhookUrl: string | undefined;
    };

/**
 * Reads the message's JSON text. The operator has judged it already; a task that is started by hand has not been.
 *
 * @param text the value of TASK_DATA: plain JSON, whatever encoding the queue has; or a message's own text, in the queue's encoding
 * @param what the text is, for people
 */
export function readTask(text: string, encoding: Encoding = 'none', what = 'TASK_DATA'): TaskReading {
  const decoded = decodeMessage(text, encoding);
  if (decoded.kind === 'undecodable') {
    return { kind: 'invalid', error: malformed(what, [decoded.problem]), taskId: undefined, webhookUrl: undefined };
  }
  const validation = validateTask(decoded);
  if (validation.kind === 'valid') return validation;
  const { problems, taskId, webhookUrl } = validation;
  return { kind: 'invalid', error: malformed(what, problems), taskId, webhookUrl };
}

function malformed(what: string, problems: readonly Problem[]): PermanentError {
  const text = problems.map(({ field, message }) => `${field} ${message}`).join('; ');
  return new PermanentError(`${what} is no task: ${text}`, { code: 'Malformed' });
}
