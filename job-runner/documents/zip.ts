/** An entry of a ZIP file, as its directory tells it. */
export interface ZipEntry {
  readonly name: string;
  /** Bytes when inflated, as declared. */
  readonly size: number;
}

const END = 0x06054b50;
const ENTRY = 0x02014b50;

/**
 * The directory of a ZIP file, without inflating anything; undefined when it cannot be read. ZIP64 is not read: it is for files of over
 * 4 GiB.
 */
export function listZip(bytes: Buffer): ZipEntry[] | undefined {
  // The end record has 22 bytes and a comment of up to 65,535.
  for (let at = bytes.length - 22; at >= Math.max(0, bytes.length - 65_557); at--) {
    if (bytes.readUInt32LE(at) === END)
      return readEntries(bytes, bytes.readUInt32LE(at + 16), bytes.readUInt16LE(at + 10));
  }
  return undefined;
}

function readEntries(bytes: Buffer, start: number, count: number): ZipEntry[] | undefined {
  const entries: ZipEntry[] = [];
  let at = start;
  for (let index = 0; index < count; index++) {
    if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== ENTRY) return undefined;
    const nameLength = bytes.readUInt16LE(at + 28);
    entries.push({
      name: bytes.toString('utf8', at + 46, at + 46 + nameLength),
      size: bytes.readUInt32LE(at + 24),
    });
    at += 46 + nameLength + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
  }
  return entries;
}
