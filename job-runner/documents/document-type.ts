/** What kind of document some bytes are: by their first bytes, and for texts by the file's name or content type. */
import { PermanentError } from '../errors.ts';
import { listZip } from './zip.ts';

const DOCUMENT_TYPES = ['pdf', 'docx', 'html', 'markdown', 'text'] as const;
/** Kinds that text can be taken from. */
export type DocumentType = (typeof DOCUMENT_TYPES)[number];

const BY_EXTENSION: ReadonlyMap<string, DocumentType> = new Map([
  ['html', 'html'],
  ['htm', 'html'],
  ['xhtml', 'html'],
  ['md', 'markdown'],
  ['markdown', 'markdown'],
  ['txt', 'text'],
  ['text', 'text'],
  ['log', 'text'],
  ['csv', 'text'],
]);
const BY_CONTENT_TYPE: ReadonlyMap<string, DocumentType> = new Map([
  ['text/html', 'html'],
  ['application/xhtml+xml', 'html'],
  ['text/markdown', 'markdown'],
  ['text/plain', 'text'],
  ['text/csv', 'text'],
]);

const MIB = 1024 * 1024;
/** A part of a DOCX, inflated. Its parser takes about 90 times as much memory as the part has bytes, and a task has 2 GiB. */
const MAX_XML_BYTES = 16 * MIB;
/** All of a DOCX, inflated; most of it are images. */
const MAX_INFLATED_BYTES = 256 * MIB;

/**
 * Finds the type.
 *
 * @param name the file's name or path; only its extension counts
 * @param contentType as stored with the file
 * @throws PermanentError for an empty file, one of another type, or one whose name promises what its bytes are not
 */
export function detectType(bytes: Buffer, name: string, contentType: string | undefined): DocumentType {
  if (bytes.length === 0) throw new PermanentError('is empty');
  // Readers of PDF accept some bytes before the header.
  if (bytes.subarray(0, 1024).includes('%PDF-')) return 'pdf';
  if (bytes.subarray(0, 4).equals(Buffer.from('PK\x03\x04', 'latin1'))) return zipType(bytes);
  if (bytes.subarray(0, 8).equals(Buffer.from('d0cf11e0a1b11ae1', 'hex'))) throw oldOffice(bytes);
  const extension = /\.([^./]+)$/.exec(name.toLowerCase())?.[1] ?? '';
  if (extension === 'pdf' || extension === 'docx') {
    throw new PermanentError(`is damaged: its name ends in .${extension}, but its first bytes are not those of one`);
  }
  const type =
    BY_EXTENSION.get(extension) ?? BY_CONTENT_TYPE.get(contentType?.split(';')[0]?.trim().toLowerCase() ?? '');
  const head = bytes.subarray(0, 512).toString('latin1');
  if (type === undefined && /^\s*(<!doctype html|<html[\s>])/i.test(head)) return 'html';
  if (type !== undefined) return type;
  const known = `extension "${extension}", content type "${contentType ?? ''}"`;
  throw new PermanentError(`is of an unknown type (${known}); text can be taken from ${DOCUMENT_TYPES.join(', ')}`);
}

function zipType(bytes: Buffer): DocumentType {
  const entries = listZip(bytes);
  if (entries === undefined) throw new PermanentError('is damaged: a DOCX or ZIP file whose directory cannot be read');
  if (!entries.some(({ name }) => name === 'word/document.xml')) {
    throw new PermanentError('is a ZIP file but no DOCX; of Office documents only DOCX can be read');
  }
  const largestXml = Math.max(...entries.filter(({ name }) => name.endsWith('.xml')).map(({ size }) => size));
  const inflated = entries.reduce((sum, entry) => sum + entry.size, 0);
  if (largestXml > MAX_XML_BYTES || inflated > MAX_INFLATED_BYTES) {
    const [what, size, most] =
      largestXml > MAX_XML_BYTES ? ['text', largestXml, MAX_XML_BYTES] : ['content', inflated, MAX_INFLATED_BYTES];
    throw new PermanentError(
      `has too much ${what}: ${Math.ceil(size / MIB)} MiB when inflated; at most ${most / MIB} MiB are accepted`,
    );
  }
  return 'docx';
}

function oldOffice(bytes: Buffer): PermanentError {
  const encrypted = bytes.includes(Buffer.from('EncryptedPackage', 'utf16le'));
  return new PermanentError(
    encrypted
      ? 'is encrypted: a password is needed to open it'
      : 'is an Office document of the old format (before 2007); save it as DOCX or PDF',
  );
}
