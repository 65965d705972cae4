/** Documents of many programs, whole and damaged: what comes of each. See testing/corpus/README.md. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { detectType } from './document-type.ts';
import { extractText } from './extract-text.ts';

const directory = new URL('../../testing/corpus/', import.meta.url);
const WHOLE = [
  'Harbour report',
  'High water stood at 06:42 and at 19:05; the café on the quay was closed.',
  'Ines Müller counted 312 crates of oranges, and a fee of €12 was paid in Tromsø.',
];
const TABLE = ['Berth', 'Ship', 'Aurora', 'Borealis'];
const [TITLE = ''] = WHOLE;
const SECOND = 'The second page: salt and timber.';

/** Texts by page, in their order; a document without pages is one. */
const READ: Readonly<Record<string, readonly (readonly string[])[]>> = {
  'pandoc.docx': [[...WHOLE, ...TABLE]],
  'pandoc.html': [[...WHOLE, ...TABLE]],
  'pandoc.md': [[...WHOLE, ...TABLE]],
  'pandoc.txt': [[...WHOLE, ...TABLE]],
  'libreoffice.pdf': [[...WHOLE, ...TABLE]],
  'libreoffice.docx': [[...WHOLE, ...TABLE]],
  'weasyprint.pdf': [[...WHOLE, ...TABLE]],
  'cairo.pdf': [WHOLE],
  'ghostscript.pdf': [[TITLE, '312 crates of oranges']],
  'groff.pdf': [[TITLE, '312 crates of oranges were counted.'], [SECOND]],
  'fpdf2.pdf': [[TITLE], [SECOND]],
  'qpdf-linear.pdf': [[TITLE], [SECOND]],
  // Encrypted, and opens without a password.
  'qpdf-owner-password.pdf': [[TITLE], [SECOND]],
  'windows.html': [[...WHOLE, ...TABLE]],
  'utf-16.txt': [WHOLE.slice(2)],
  'img2pdf-scan.pdf': [[], []],
};

const REFUSED: Readonly<Record<string, string>> = {
  'qpdf-password.pdf': 'is encrypted: a password is needed to open it',
  'cut.pdf': 'is damaged: it cannot be read as a PDF (Invalid PDF structure.)',
  'zeroed.pdf': 'is damaged: it cannot be read as a PDF (Invalid PDF structure.)',
  'no-xref.pdf': 'is damaged: it cannot be read as a PDF (Invalid Root reference.)',
  'cut.docx': 'is damaged: a DOCX or ZIP file whose directory cannot be read',
  'broken-xml.docx': 'is damaged: it cannot be read as a DOCX (',
  'empty.pdf': 'is empty',
  'picture.pdf': 'is damaged: its name ends in .pdf, but its first bytes are not those of one',
  'bytes.txt': 'is no utf-8 text: it has bytes that mean nothing in it; save it as UTF-8',
};

async function read(name: string) {
  const bytes = readFileSync(new URL(name, directory));
  return extractText(detectType(bytes, name, undefined), bytes, systemClock, new AbortController().signal);
}

const plain = (text: string) => text.replaceAll(/\s+/g, ' ');

test.each(Object.entries(READ))('%s is read', async (name, pages) => {
  const { parts, warnings, isScan } = await read(name);
  expect(parts).toHaveLength(pages.length);
  for (const [at, texts] of pages.entries()) {
    let from = 0;
    const whole = plain(parts[at]?.text ?? '');
    for (const text of texts) {
      const found = whole.indexOf(text, from);
      expect(found, `"${text}" on page ${at + 1}: ${whole}`).toBeGreaterThanOrEqual(0);
      from = found + text.length;
    }
  }
  expect(isScan).toBe(name.includes('scan'));
  expect(warnings).toEqual(isScan ? ['pages without text: 2 of 2; they are images, which are not read'] : []);
});

test.each(Object.entries(REFUSED))('%s is refused for good', async (name, words) => {
  await expect(read(name)).rejects.toMatchObject({ name: 'PermanentError', message: expect.stringContaining(words) });
});

test('no file of the corpus is left out', () => {
  const known = [...Object.keys(READ), ...Object.keys(REFUSED), 'README.md', 'make.py'];
  expect(readdirSync(directory).toSorted()).toEqual(known.toSorted());
});
