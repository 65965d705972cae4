import { readFile } from 'node:fs/promises';
import { getDocumentProxy, getResolvedPDFJS } from 'unpdf';
import type { Clock } from '../../lib/clock.ts';
import { PermanentError } from '../errors.ts';
import { type ExtractedText, type TextPart, unreadable } from './extracted-text.ts';

type Pdf = Awaited<ReturnType<typeof getDocumentProxy>>;

/**
 * The text of each page of a PDF.
 *
 * @throws PermanentError when it is encrypted or damaged
 */
export async function pdfText(bytes: Buffer, clock: Clock, signal: AbortSignal): Promise<ExtractedText> {
  const missing = new Set<string>();
  const pdf = await open(bytes, missing);
  try {
    const parts: TextPart[] = [];
    for (let page = 1; page <= pdf.numPages; page++) {
      // PDF.js works in microtasks alone: without a pause no timer and no signal would get through.
      await clock.sleep(0, signal);
      signal.throwIfAborted();
      parts.push({ page, text: await pageText(pdf, page) });
    }
    const empty = parts.filter(({ text }) => text.trim() === '').map(({ page }) => page ?? 0);
    const images = await areImages(pdf, empty);
    return {
      parts,
      warnings: warningsOf(parts, empty.length, images, missing),
      isScan: images && empty.length === parts.length,
    };
  } finally {
    await pdf.loadingTask.destroy();
  }
}

async function open(bytes: Buffer, missing: Set<string>): Promise<Pdf> {
  try {
    return await getDocumentProxy(new Uint8Array(bytes), {
      // Errors only: PDF.js prints to the console, and logs are JSON.
      verbosity: 0,
      useWorkerFetch: false,
      cMapPacked: true,
      BinaryDataFactory: characterMaps(missing),
    });
  } catch (error) {
    if (error instanceof Error && error.name === 'PasswordException') {
      throw new PermanentError('is encrypted: a password is needed to open it', { cause: error });
    }
    throw unreadable('a PDF', error);
  }
}

async function pageText(pdf: Pdf, number: number): Promise<string> {
  try {
    const page = await pdf.getPage(number);
    const { items } = await page.getTextContent();
    const text = items.map((item) => ('str' in item ? item.str + (item.hasEOL ? '\n' : '') : '')).join('');
    page.cleanup();
    return text;
  } catch (error) {
    throw unreadable(`page ${number} of a PDF`, error);
  }
}

/** Of pages without text so many are looked at: drawing one takes long. */
const LOOKED_AT = 3;

/** Whether any of the first pages shows an image. */
async function areImages(pdf: Pdf, pages: readonly number[]): Promise<boolean> {
  if (pages.length === 0) return false;
  const { OPS } = await getResolvedPDFJS();
  const drawsImage = new Set<number>([
    OPS.paintImageXObject,
    OPS.paintImageMaskXObject,
    OPS.paintInlineImageXObject,
    OPS.paintImageXObjectRepeat,
    OPS.paintImageMaskXObjectGroup,
    OPS.paintInlineImageXObjectGroup,
  ]);
  for (const number of pages.slice(0, LOOKED_AT)) {
    const page = await pdf.getPage(number);
    const { fnArray } = await page.getOperatorList();
    page.cleanup();
    if (fnArray.some((operation) => drawsImage.has(operation))) return true;
  }
  return false;
}

/** Beside the bundle's chunks; in the source, those of the package. */
const CHARACTER_MAPS = new URL(
  import.meta.url.endsWith('.ts') ? '../../node_modules/pdfjs-dist/cmaps/' : './cmaps/',
  import.meta.url,
);

/** The predefined character maps of East Asian fonts, without which text in a font that is not embedded has no characters. */
function characterMaps(missing: Set<string>): object {
  return class {
    async fetch({ kind, filename }: { kind: string; filename: string }): Promise<Uint8Array> {
      if (kind !== 'cMapUrl' || !/^[\w-]+\.bcmap$/.test(filename)) throw new Error(`${filename} is not available`);
      try {
        return new Uint8Array(await readFile(new URL(filename, CHARACTER_MAPS)));
      } catch (error) {
        missing.add(filename.replace(/\.bcmap$/, ''));
        throw error;
      }
    }
  };
}

function warningsOf(
  parts: readonly TextPart[],
  empty: number,
  images: boolean,
  missing: ReadonlySet<string>,
): string[] {
  return [
    ...(missing.size === 0
      ? []
      : [`text in fonts that are not embedded is missing: it needs the character maps ${[...missing].join(', ')}`]),
    ...(empty === 0
      ? []
      : [
          images
            ? `pages without text: ${empty} of ${parts.length}; they are images, which are not read`
            : `pages without text: ${empty} of ${parts.length}`,
        ]),
  ];
}
