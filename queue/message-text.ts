/**
 * The texts of received messages as they were put. The SDK's XML parser leaves numeric character references alone, and by the time it has
 * decoded `&amp;` a carriage return (sent as `&#xD;`) looks like a text that says `&#xD;`. Only the raw answer tells them apart.
 */
const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** The message texts of a Get Messages answer, in order, each reference decoded once. */
export function messageTexts(xml: string): string[] {
  return [...xml.matchAll(/<MessageText>([^<]*)<\/MessageText>|<MessageText\s*\/>/g)].map(([, text = '']) =>
    text.replaceAll(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex?: string, decimal?: string, name?: string) => {
      if (name !== undefined) return NAMED[name] ?? whole;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    }),
  );
}

/** Whether the SDK's decoding of this answer cannot be relied on. */
export function hasCharacterReferences(xml: string): boolean {
  return /&#(x[0-9a-f]+|\d+);/i.test(xml);
}
