/** The state of a webhook that the operator has to send, as it stands on the Job. */
import { z } from 'zod';
import { ANNOTATION } from '../../contract/identity.ts';
import { iso } from '../../lib/clock.ts';
import { tryParseJson } from '../../lib/json.ts';
import type { JobRecord } from '../jobs/records.ts';

const schema = z.discriminatedUnion('kind', [
  /** Failed so far; to be tried again. `removal` tells how deleting the message had ended, which came before. */
  z.object({
    kind: z.literal('owed'),
    tries: z.number().int(),
    nextAt: z.iso.datetime().transform((text) => new Date(text).getTime()),
    detail: z.string(),
    removal: z.enum(['deleted', 'unsure', 'queue-gone']),
  }),
  /** Delivered by the operator. */
  z.object({ kind: z.literal('delivered'), tries: z.number().int() }),
  /** Not delivered, and not to be: the receiver said so for good, or the schedule is used up. */
  z.object({ kind: z.literal('given-up'), tries: z.number().int(), detail: z.string() }),
]);

export type WebhookState = z.output<typeof schema>;

/** Reads the state; undefined when the operator has not tried yet, or need not. */
export function webhookState(job: JobRecord): WebhookState | undefined {
  const text = job.annotations[ANNOTATION.webhookState];
  if (text === undefined) return undefined;
  const parsed = schema.safeParse(tryParseJson(text));
  return parsed.success ? parsed.data : undefined;
}

/** Writes the state as an annotation. */
export function webhookStateAnnotation(state: WebhookState): Record<string, string> {
  return {
    [ANNOTATION.webhookState]: JSON.stringify(state.kind === 'owed' ? { ...state, nextAt: iso(state.nextAt) } : state),
  };
}
