import { describe, expect, test } from 'vitest';
import { documentPayloadSchema, documentSource, sourceName } from './source.ts';

const problems = (payload: unknown) =>
  documentPayloadSchema.safeParse(payload).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ??
  [];
const source = (url: string, hosts: string[] = []) => documentSource({ url }, '127.0.0.1:10000', hosts);

describe('the payload', () => {
  test.each([
    [{ container: 'docs', path: 'in/a.pdf' }],
    [{ url: 'https://acme.blob.core.windows.net/docs/a.pdf?sig=x', output: { container: 'out', path: 'a.json' } }],
    [{ container: 'docs', path: 'a..b/...c', output: {}, more: 1 }],
  ])('%j', (payload) => expect(problems(payload)).toEqual([]));

  test.each([
    [{}, ': must name the document either by container and path or by url'],
    [{ container: 'docs' }, ': must name the document either by container and path or by url'],
    [
      { container: 'docs', path: 'a', url: 'https://x/' },
      ': must name the document either by container and path or by url',
    ],
    [
      { container: 'Docs', path: 'a' },
      'container: must be a container name: 3 to 63 lower-case letters, digits and single hyphens',
    ],
    [{ container: 'docs', path: '../other/a.pdf' }, 'path: must not have "." or ".." as a part'],
    [{ container: 'docs', path: 'a\\..\\b' }, 'path: must not have "." or ".." as a part'],
    [{ url: 'file:///etc/passwd' }, 'url: must be an http or https URL'],
    [{ url: 'https://x/', output: { path: './a' } }, 'output.path: must not have "." or ".." as a part'],
  ])('%j', (payload, problem) => expect(problems(payload)).toEqual([problem]));
});

describe('the source', () => {
  test.each([
    'https://acme.blob.core.windows.net/docs/a.pdf',
    'https://acme.z12.blob.storage.azure.net/docs/a',
    'http://127.0.0.1:10000/acme/docs/a',
  ])('%s is read', (url) => expect(source(url)).toEqual({ kind: 'url', url: new URL(url) }));

  test.each([
    'http://acme.blob.core.windows.net/docs/a.pdf',
    'https://blob.core.windows.net.evil.example/',
    'https://evilblob.core.windows.net/',
    'https://user@169.254.169.254/metadata',
    'http://127.0.0.1:10001/',
    'https://cdn.example.com/a.pdf',
  ])('%s is not', (url) => expect(() => source(url)).toThrow(/no https host of Azure Blob Storage/));

  test('further hosts may be allowed', () => {
    expect(source('https://cdn.example.com/a.pdf', ['cdn.example.com']).kind).toBe('url');
  });

  test('is named without credentials', () => {
    expect(sourceName(source('https://u:p@acme.blob.core.windows.net/docs/a%20b.pdf?sig=secret#x'))).toBe(
      'https://acme.blob.core.windows.net/docs/a%20b.pdf',
    );
    expect(sourceName({ kind: 'blob', container: 'docs', path: 'a b.pdf' })).toBe('docs/a b.pdf');
  });
});
