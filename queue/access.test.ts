import { QueueServiceClient } from '@azure/storage-queue';
import { describe, expect, test } from 'vitest';
import { storageAccess } from './access.ts';

const KEY = 'c2VjcmV0a2V5';
const FULL = `DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=${KEY};EndpointSuffix=core.windows.net`;
const PUBLIC = 'https://acme.queue.core.windows.net';

describe('a connection string', () => {
  test.each<[what: string, text: string, account: string, url: string]>([
    ['as the portal gives it', FULL, 'acme', PUBLIC],
    [
      'in another order, with a line end',
      `AccountKey=${KEY};EndpointSuffix=core.windows.net;AccountName=acme\n`,
      'acme',
      PUBLIC,
    ],
    ['with blanks and other capitals', ` accountname = acme ; ACCOUNTKEY = ${KEY} ;`, 'acme', PUBLIC],
    [
      'of another cloud',
      FULL.replace('core.windows.net', 'core.chinacloudapi.cn'),
      'acme',
      'https://acme.queue.core.chinacloudapi.cn',
    ],
    [
      'of a SAS',
      `QueueEndpoint=${PUBLIC}/;SharedAccessSignature=?sv=1&sig=${KEY}`,
      'acme',
      `${PUBLIC}?sv=1&sig=${KEY}`,
    ],
    [
      'of a SAS with the account’s name',
      `AccountName=acme;SharedAccessSignature=sv=1&sig=${KEY}`,
      'acme',
      `${PUBLIC}?sv=1&sig=${KEY}`,
    ],
    [
      'of an emulator',
      `AccountName=devstoreaccount1;AccountKey=${KEY};QueueEndpoint=http://10.0.0.1:10001/devstoreaccount1`,
      'devstoreaccount1',
      'http://10.0.0.1:10001/devstoreaccount1',
    ],
    [
      'for the emulator, short',
      'UseDevelopmentStorage=true',
      'devstoreaccount1',
      'http://127.0.0.1:10001/devstoreaccount1',
    ],
  ])('%s is one that the SDK reads', (_, text, account, url) => {
    const access = storageAccess(text, undefined);
    if (access.kind !== 'connection-string') throw new Error(`it was taken for ${access.kind}`);
    expect(access.account).toBe(account);
    expect(QueueServiceClient.fromConnectionString(access.secret.reveal()).url).toBe(url);
  });

  test('keeps the way to Blob', () => {
    const secret = (text: string) => {
      const access = storageAccess(text, undefined);
      return access.kind === 'invalid' ? access.problem : access.secret.reveal();
    };
    expect(secret(FULL)).toContain('BlobEndpoint=https://acme.blob.core.windows.net');
    expect(secret(`${FULL};BlobEndpoint=https://files.example/`)).toContain('BlobEndpoint=https://files.example/');
  });

  test.each([
    'hunter2',
    'AccountName=acme',
    `AccountKey=${KEY}`,
    'AccountName=acme;AccountKey=not base64',
    `"${FULL}"`,
    `AccountName=acme;AccountKey=${KEY};QueueEndpoint=ftp://acme`,
    `AccountName=Acme Storage;AccountKey=${KEY}`,
    'AccountName=acme;SharedAccessSignature=sv=1',
    ';;;===',
  ])('%j is none, and nothing of it is shown', (text) => {
    const access = storageAccess(text, undefined);
    if (access.kind !== 'invalid') throw new Error('it was accepted');
    expect(access.problem).toMatch(/^AZURE_STORAGE_CONNECTION_STRING \(value not shown\): /);
    expect(access.problem).not.toContain(text);
    expect(access.problem).not.toContain(KEY);
  });
});

describe('a SAS URL', () => {
  test.each([
    ['https://acme.queue.core.windows.net/?sv=1&sig=x', 'acme'],
    ['https://acme.queue.core.windows.net?sv=1&sig=x\n', 'acme'],
    ['http://127.0.0.1:10001/devstoreaccount1?sv=1&sig=x', 'devstoreaccount1'],
  ])('%s', (url, account) => expect(storageAccess(undefined, url)).toMatchObject({ kind: 'sas-url', account }));

  test.each([
    'https://acme.queue.core.windows.net/',
    'https://acme.queue.core.windows.net/acme-tasks?sig=x',
    'https://acme.blob.core.windows.net/?sig=x',
    'http://127.0.0.1:10001/?sig=x',
    'ftp://acme.queue.core.windows.net/?sig=x',
    'sv=1&sig=x',
  ])('%s is none', (url) => {
    expect(storageAccess('', url)).toMatchObject({ kind: 'invalid', problem: expect.not.stringContaining(url) });
  });
});

test('exactly one of the two must be set', () => {
  expect(storageAccess(undefined, '')).toMatchObject({ problem: expect.stringContaining('are both not set') });
  expect(storageAccess(FULL, 'https://acme.queue.core.windows.net/?sig=x')).toMatchObject({
    problem: expect.stringContaining('are both set'),
  });
});
