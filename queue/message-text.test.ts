import { expect, test } from 'vitest';
import { hasCharacterReferences, messageTexts } from './message-text.ts';

const answer = (...texts: string[]) =>
  `<?xml version="1.0"?><QueueMessagesList>${texts.map((text) => `<QueueMessage><MessageId>1</MessageId>${text}</QueueMessage>`).join('')}</QueueMessagesList>`;
const text = (encoded: string) => `<MessageText>${encoded}</MessageText>`;

test.each([
  ['plain', 'plain'],
  ['a&#xD;\nb', 'a\r\nb'],
  ['a&#13;b', 'a\rb'],
  ['&#x1F6A2;', '🚢'],
  ['&lt;x y=&quot;1&quot;&gt; &amp; &apos;', '<x y="1"> & \''],
  ['&amp;#xD;', '&#xD;'],
  ['&amp;amp;', '&amp;'],
  ['&unknown; &#x110000;', '&unknown; &#x110000;'],
  ['', ''],
])('%j is read as %j', (encoded, decoded) => {
  expect(messageTexts(answer(text(encoded)))).toEqual([decoded]);
});

test('texts come in the order of their messages, empty ones included', () => {
  expect(messageTexts(answer(text('1'), '<MessageText />', text('3')))).toEqual(['1', '', '3']);
  expect(messageTexts(answer())).toEqual([]);
});

test('a reference is told from a text that names one', () => {
  expect(hasCharacterReferences(answer(text('a&#xD;b')))).toBe(true);
  expect(hasCharacterReferences(answer(text('a&amp;#xD;b')))).toBe(false);
});
