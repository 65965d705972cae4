import { PermanentError } from '../errors.ts';

/**
 * Bytes → text: UTF-8, or UTF-16 with a byte order mark; the mark itself is dropped.
 *
 * @param declared an encoding that the document names itself, such as windows-1252; a byte order mark goes first
 * @throws PermanentError when the bytes are no text in that encoding
 */
export function decodeText(bytes: Buffer, declared = 'utf-8'): string {
  const encoding = markedEncoding(bytes) ?? declared;
  let decoder: TextDecoder;
  try {
    decoder = new TextDecoder(encoding, { fatal: true });
  } catch {
    throw new PermanentError(`says that it is written in "${encoding.slice(0, 40)}", which is no known encoding`);
  }
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    throw new PermanentError(`is no ${encoding} text: it has bytes that mean nothing in it; save it as UTF-8`);
  }
  if (text.includes('\0')) throw new PermanentError('is no text: it has NUL bytes; if it is UTF-16, save it as UTF-8');
  return text;
}

function markedEncoding(bytes: Buffer): string | undefined {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return 'utf-8';
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'utf-16le';
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'utf-16be';
  return undefined;
}
