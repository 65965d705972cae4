/** Questions to servers whose refusal is an answer too. */
import { ServiceError } from '../lib/errors.ts';

/** An answer, or why there is none. */
export type Answer<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ServiceError };

/** Asks. Only a `ServiceError` is an answer; any other error is a mistake of ours and thrown. */
export async function ask<T>(question: Promise<T>): Promise<Answer<T>> {
  try {
    return { ok: true, value: await question };
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return { ok: false, error };
  }
}

/** A server's refusal without the request that it begins with. */
export function refusalOf({ message }: ServiceError): string {
  return message.replace(/^[A-Z]+ \S+ was refused: /, '').replace(/\.$/, '');
}
