import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { decodeText } from './decode-text.ts';
import { detectType } from './document-type.ts';
import { extractText } from './extract-text.ts';
import { fromHtml } from './html.ts';
import { listZip } from './zip.ts';

const fixture = (name: string) => readFile(new URL(`../../testing/fixtures/${name}`, import.meta.url));
const never = new AbortController().signal;
const read = async (name: string, signal = never) => {
  const bytes = await fixture(name);
  const type = detectType(bytes, name, undefined);
  return { type, ...(await extractText(type, bytes, systemClock, signal)) };
};
const text = async (name: string) => (await read(name)).parts.map((part) => part.text).join('\n');

describe('real documents', () => {
  test('PDF, page by page', async () => {
    expect(await read('report.pdf')).toMatchObject({
      type: 'pdf',
      parts: [
        {
          page: 1,
          text: expect.stringMatching(/^Harbour report\n.*the café on the quay.*€12 fee.*2 Borealis 3100$/s),
        },
        { page: 2, text: expect.stringMatching(/^Cargo\n.*312 crates of oranges\.$/s) },
      ],
      warnings: [],
    });
  });

  test('PDF whose text cannot be had: said, not passed over', async () => {
    expect((await read('blank.pdf')).warnings).toEqual(['pages without text: 1 of 1']);
  });

  test('PDF whose font is not embedded, and needs a character map', async () => {
    expect(await read('japanese.pdf')).toMatchObject({ parts: [{ page: 1, text: '港の報告' }], warnings: [] });
  });

  test('DOCX', async () => {
    expect(await text('crew.docx')).toMatch(/^Crew list\n\n.*Tromsø.*Jón Þórsson, cook.*Cabin\n\nName/s);
  });

  test('HTML, without scripts, styles, images and link targets', async () => {
    expect(await text('notice.html')).toBe(
      'Notice to mariners\n\nThe light at Brønnøy shows two white flashes every 10 s.\n\n * Buoy 4 has been withdrawn.\n * Depths < 3 m are marked in red.\n\nMark    Colour\nNorth   black over yellow'
        .replace('10 s', '10\u00a0s')
        .replace('3 m', '3\u00a0m'),
    );
  });

  test('Markdown', async () => {
    expect(await text('handbook.md')).toBe(
      'Deck handbook\n\nLines are kept dry and coiled; see the locker.\n\n 1. Check the shackles.\n 2. Check them again.\n\nLine   Length\nbow    40 m\naft    35 m\n\n> Nobody leaves the deck without a vest.',
    );
  });

  test('plain text, byte for byte', async () => {
    expect(await text('log.txt')).toBe((await fixture('log.txt')).toString('utf8'));
  });

  test.each([
    ['encrypted.pdf', 'is encrypted: a password is needed to open it'],
    ['damaged.pdf', 'is damaged: it cannot be read as a PDF (Invalid PDF structure.)'],
    ['damaged.docx', 'is damaged: a DOCX or ZIP file whose directory cannot be read'],
    ['latin1.txt', 'is no utf-8 text: it has bytes that mean nothing in it; save it as UTF-8'],
  ])('%s is a permanent failure', async (name, message) => {
    await expect(read(name)).rejects.toMatchObject({ name: 'PermanentError', message });
  });

  test('a PDF is left when the task ends', async () => {
    await expect(read('report.pdf', AbortSignal.abort(new Error('over')))).rejects.toThrow('over');
  });
});

describe('detectType', () => {
  const of = (content: string, name: string, contentType?: string) =>
    detectType(Buffer.from(content, 'latin1'), name, contentType);

  test.each([
    ['%PDF-1.7', 'a.txt', undefined, 'pdf'],
    ['junk\n%PDF-1.7', 'a', undefined, 'pdf'],
    ['hello', 'a.TXT', undefined, 'text'],
    ['hello', 'dir.md/a.txt', undefined, 'text'],
    ['hello', 'a', 'text/plain; charset=utf-8', 'text'],
    ['hello', 'a', 'Text/Markdown', 'markdown'],
    ['hello', 'a.md', 'application/octet-stream', 'markdown'],
    ['<p>', 'a.htm', 'text/plain', 'html'],
    [' \n<!DOCTYPE html>', 'a', undefined, 'html'],
    ['<html lang="en">', 'a.bin', undefined, 'html'],
  ])('%j named %s, %s: %s', (content, name, contentType, type) => {
    expect(of(content, name, contentType)).toBe(type);
  });

  test.each([
    ['', 'a.txt', /^is empty$/],
    ['hello', 'a.pdf', /damaged: its name ends in \.pdf/],
    ['hello', 'a.docx', /damaged: its name ends in \.docx/],
    ['\x89PNG', 'a.png', /unknown type \(extension "png"/],
    ['hello', 'a', /unknown type/],
    ['hello', 'txt/a', /unknown type/],
    ['\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more', 'a.doc', /old format/],
    [
      `\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1${[...'EncryptedPackage'].map((char) => `${char}\0`).join('')}`,
      'a.docx',
      /encrypted/,
    ],
    ['PK\x03\x04', 'a.docx', /damaged/],
    [zip(['xl/workbook.xml', 10]), 'a.xlsx', /no DOCX/],
    [zip(['word/document.xml', 17 * 1024 * 1024]), 'a.docx', /too much text: 17 MiB/],
    [zip(['word/document.xml', 10], ['word/media/a.png', 300 * 1024 * 1024]), 'a.docx', /too much content: 301 MiB/],
  ])('%j named %s is refused', (content, name, message) => {
    expect(() => of(content, name)).toThrow(message);
  });
});

describe('listZip', () => {
  test('reads what is there', () => {
    expect(listZip(Buffer.from(zip(['a', 1], ['b', 2]), 'latin1'))).toEqual([
      { name: 'a', size: 1 },
      { name: 'b', size: 2 },
    ]);
  });

  test('no bytes make it throw', async () => {
    const real = await fixture('crew.docx');
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat(real.length),
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        (noise, at, patch) => {
          listZip(Buffer.from(noise));
          listZip(real.subarray(0, at));
          const changed = Buffer.from(real);
          changed.set(patch.subarray(0, real.length - at), at);
          listZip(changed);
        },
      ),
    );
  });
});

describe('decodeText', () => {
  test.each([
    ['efbbbf6869', undefined, 'hi'],
    ['fffe68006900', undefined, 'hi'],
    ['feff00680069', undefined, 'hi'],
    ['636166e9', 'windows-1252', 'café'],
    ['efbbbf636166c3a9', 'windows-1252', 'café'],
  ])('%s, declared %s', (hex, declared, expected) => {
    expect(decodeText(Buffer.from(hex, 'hex'), declared)).toBe(expected);
  });

  test.each([
    ['c3', undefined, /no utf-8 text/],
    ['eda080', undefined, /no utf-8 text/],
    ['6800690000', undefined, /NUL bytes/],
    ['68', 'klingon', /"klingon", which is no known encoding/],
  ])('%s, declared %s, is refused', (hex, declared, message) => {
    expect(() => decodeText(Buffer.from(hex, 'hex'), declared)).toThrow(message);
  });

  test('gives back any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        const expected = value.replaceAll('\0', '');
        expect(decodeText(Buffer.from(`\ufeff${expected}`))).toBe(expected);
      }),
    );
  });
});

test('a long document is not cut off', () => {
  const words = 'word '.repeat(4_000_000);
  expect(fromHtml(`<p>${words}end</p>`, 'HTML').parts[0]?.text).toHaveLength(words.length + 3);
});

test('a document that is nested too deeply is damaged, not a crash', () => {
  expect(() => fromHtml('<div>'.repeat(30_000), 'HTML')).toThrow('cannot be read as HTML (it is nested too deeply)');
});

/** The directory of a ZIP file whose entries have these names and declared sizes. */
function zip(...entries: [name: string, size: number][]): string {
  const start = Buffer.from('PK\x03\x04', 'latin1');
  const records = entries.map(([name, size]) => {
    const record = Buffer.alloc(46);
    record.writeUInt32LE(0x02014b50);
    record.writeUInt32LE(size, 24);
    record.writeUInt16LE(name.length, 28);
    return Buffer.concat([record, Buffer.from(name)]);
  });
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(start.length, 16);
  return Buffer.concat([start, ...records, end]).toString('latin1');
}
