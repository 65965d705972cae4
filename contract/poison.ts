/** The poison queue's envelope: what is put into `{queue}-poison` for a message whose task failed for good. */
import { z } from 'zod';

/** Bytes that a queue message may have after encoding. */
export const MAX_MESSAGE_BYTES = 65_536;

const diagnosisSchema = z.object({ category: z.string(), message: z.string(), hint: z.string() });

const envelopeSchema = z.object({
  slipway: z.literal(1),
  /** The id of the original message; copies with one id are one message. */
  id: z.string(),
  queue: z.string(),
  reason: z.string(),
  diagnosis: diagnosisSchema,
  attempts: z.array(
    z.object({ finishedAt: z.string().nullable(), exitCode: z.number().nullable(), reason: z.string() }),
  ),
  insertedOn: z.string().nullable(),
  poisonedOn: z.string(),
  /** How the original is written; `unknown` for a text that is no JSON either way. */
  encoding: z.enum(['plain', 'base64', 'unknown']),
  /** The message's text as received. */
  original: z.string(),
});

/** The body of a poison message. */
export type PoisonEnvelope = z.infer<typeof envelopeSchema>;

/** Reads a poison message; undefined when it is a bare original. */
export function parseEnvelope(text: string): PoisonEnvelope | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const parsed = envelopeSchema.safeParse(value);
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Writes an envelope that fits into a queue message: whole, then shortened, then the bare original as received, which always fits
 * because it was a queue message itself. Control characters and lone surrogates leave as JSON escapes, and so do the two characters that
 * JSON lets stand but XML, which carries queue messages, does not.
 */
export function formatEnvelope(envelope: PoisonEnvelope): string {
  const short: PoisonEnvelope = {
    ...envelope,
    reason: envelope.reason.slice(0, 200).toWellFormed(),
    diagnosis: { ...envelope.diagnosis, message: envelope.diagnosis.message.slice(0, 200).toWellFormed() },
    attempts: [],
  };
  for (const candidate of [envelope, short].map(toXmlSafeJson)) {
    if (Buffer.byteLength(candidate) <= MAX_MESSAGE_BYTES) return candidate;
  }
  return envelope.original;
}

function toXmlSafeJson(envelope: PoisonEnvelope): string {
  return JSON.stringify(envelope).replaceAll('\ufffe', '\\ufffe').replaceAll('\uffff', '\\uffff');
}
