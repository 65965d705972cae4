/** Texts to test with. fast-check's own `unit: 'binary'` takes over a second to set itself up in every test file. */
import fc from 'fast-check';

/** Any text: every code point, lone surrogates and control characters too, in lengths up to `maxLength`. */
export function anyText(maxLength = 20): fc.Arbitrary<string> {
  const unit = fc.oneof(
    fc.integer({ min: 0x20, max: 0x7e }),
    fc.nat(0x10_ffff),
    fc.constantFrom(0, 0x0a, 0x7f, 0x85, 0xd800, 0xdfff, 0xfeff, 0xfffe, 0xffff, 0x1f6a2),
  );
  return fc.array(unit, { maxLength, size: 'max' }).map((points) => String.fromCodePoint(...points));
}
