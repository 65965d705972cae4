import { styleText } from 'node:util';

/** A text in a colour, on a terminal that has any. */
export function paint(colour: boolean, format: Parameters<typeof styleText>[0], text: string): string {
  return colour ? styleText(format, text, { validateStream: false }) : text;
}
