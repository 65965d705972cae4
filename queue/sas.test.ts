import { expect, test } from 'vitest';
import { storageAccess } from './access.ts';
import { missingRights, type SasTerms, sasTerms } from './sas.ts';

const URL_OF = (query: string) => `https://acme.queue.core.windows.net/?${query}&sig=c2VjcmV0`;

function termsOf(connectionString: string | undefined, sasUrl?: string): SasTerms | undefined {
  const access = storageAccess(connectionString, sasUrl);
  if (access.kind === 'invalid') throw new Error(access.problem);
  return sasTerms(access);
}

test('an account key has no terms', () => {
  expect(termsOf('AccountName=acme;AccountKey=c2VjcmV0')).toBeUndefined();
});

test('the terms of an account SAS are read from a URL and from a connection string', () => {
  const query = 'sv=2024-11-04&ss=q&srt=sco&sp=rlacup&st=2026-01-01T00:00:00Z&se=2027-01-01T00:00:00Z';
  const expected: SasTerms = {
    kind: 'account',
    permissions: 'rlacup',
    services: 'q',
    resourceTypes: 'sco',
    from: Date.UTC(2026, 0, 1),
    until: Date.UTC(2027, 0, 1),
    policy: undefined,
  };
  expect(termsOf(undefined, URL_OF(query))).toEqual(expected);
  const text = `QueueEndpoint=https://acme.queue.core.windows.net;SharedAccessSignature=${query}&sig=c2VjcmV0`;
  expect(termsOf(text)).toEqual(expected);
});

test('a queue SAS under a stored policy', () => {
  expect(termsOf(undefined, URL_OF('sv=2024-11-04&si=operator'))).toMatchObject({
    kind: 'queue',
    policy: 'operator',
    until: undefined,
  });
});

test.each([
  ['sp=rlacup&ss=q&srt=sco', []],
  ['sp=rwup&ss=bq&srt=co', ['put a poison copy']],
  ['sp=rlacup&ss=b&srt=sco', 5],
  ['sp=rlacup&ss=q&srt=o', ['look for a queue', 'create a poison queue']],
  ['sp=rap&ss=q&srt=sco', ['renew a lease', 'create a poison queue']],
  ['sp=raup', ['create a poison queue']],
])('%s does not allow %j', (query, expected) => {
  const missing = missingRights(termsOf(undefined, URL_OF(query)) as SasTerms);
  if (typeof expected === 'number') expect(missing).toHaveLength(expected);
  else expect(missing).toEqual(expected);
});
