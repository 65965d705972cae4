/** Standard Webhooks headers (https://www.standardwebhooks.com), symmetric signatures. */
import { createHmac } from 'node:crypto';
import { Secret } from '../lib/secret.ts';

/** The secrets in a setting: one, or several separated by blanks or commas while one is replaced by the next. */
export function signingSecrets(setting: string | undefined): readonly Secret[] {
  return (setting ?? '')
    .split(/[\s,]+/)
    .filter((text) => text !== '')
    .map((text) => new Secret(text));
}

/** What is wrong with a signing secret, without showing it; undefined for a good one. */
export function signingSecretProblem(secret: Secret): string | undefined {
  const key = keyOf(secret);
  if (key !== undefined && key.length >= 24 && key.length <= 64) return undefined;
  return 'is no signing secret: whsec_ and the base64 of 24 to 64 random bytes, as `echo whsec_$(openssl rand -base64 32)` makes it';
}

/**
 * The headers of one try.
 *
 * @param id the same for every try of one report; without "."
 * @param nowMs the moment of this try, milliseconds since the epoch
 * @param secrets none: no signature; several (while rotating): one signature each, any of which convinces a receiver
 * @throws Error when a secret is none by `signingSecretProblem`
 */
export function webhookHeaders(
  id: string,
  nowMs: number,
  body: string,
  secrets: readonly Secret[],
): Record<string, string> {
  const timestamp = String(Math.floor(nowMs / 1000));
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp };
  if (secrets.length === 0) return headers;
  const signatures = secrets.map((secret) => sign(secret, `${id}.${timestamp}.${body}`));
  return { ...headers, 'webhook-signature': signatures.join(' ') };
}

function sign(secret: Secret, content: string): string {
  const key = keyOf(secret);
  if (key === undefined) throw new Error('the signing secret cannot be read');
  return `v1,${createHmac('sha256', key).update(content, 'utf8').digest('base64')}`;
}

function keyOf(secret: Secret): Buffer | undefined {
  const text = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret.reveal())?.[1];
  if (text === undefined) return undefined;
  const key = Buffer.from(text, 'base64');
  return key.toString('base64') === text ? key : undefined;
}
