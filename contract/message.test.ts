import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyText } from '../testing/texts.ts';
import golden from './golden/message.json' with { type: 'json' };
import {
  type DecodedMessage,
  decodeMessage,
  ENCODINGS,
  encodeMessage,
  MAX_DEPTH,
  rawTaskId,
  rawTaskType,
  validateTask,
} from './message.ts';

const text = fc.oneof(fc.string(), anyText());
/** JSON as any producer may write it; `1234`, `null` and `true` are base64 too. */
const json = fc.oneof(
  fc.json(),
  fc.constantFrom('1234', 'null', 'true', '12345678', '"abcd"', ' {}\n', '{"a":"\\ud800"}'),
  fc.nat().map(String),
  fc.tuple(fc.jsonValue(), fc.nat(3)).map(([value, indent]) => JSON.stringify(value, undefined, indent)),
);

const toBase64 = (text: string) => Buffer.from(text, 'utf8').toString('base64');

function decoded(text: string): DecodedMessage {
  const message = decodeMessage(text, 'auto');
  if (message.kind !== 'decoded') throw new Error(`not decoded: ${message.problem.message}`);
  return message;
}

describe('decodeMessage', () => {
  test.each(golden)('$what (encoding $encoding)', ({ raw, encoding, expected }) => {
    const known = ENCODINGS.find((one) => one === encoding);
    if (known === undefined) throw new Error(`unknown encoding ${encoding}`);
    const message = decodeMessage(raw, known);
    expect(message).toMatchObject(expected);
    if (message.kind === 'decoded') expect(message.value).toEqual(JSON.parse(message.text));
  });

  test('I9: plain and base64 JSON both give the text byte for byte, and encoding it gives the message as it stood', () => {
    fc.assert(
      fc.property(json, (text) => {
        fc.pre(text.isWellFormed());
        const plain = decodeMessage(text, 'auto');
        const base64 = decodeMessage(toBase64(text), 'base64');
        expect(plain).toMatchObject({ kind: 'decoded', text, encoding: 'plain' });
        expect(base64).toMatchObject({ kind: 'decoded', text, encoding: 'base64' });
        expect(encodeMessage(text, 'plain')).toBe(text);
        expect(encodeMessage(text, 'base64')).toBe(toBase64(text));
      }),
    );
  });

  test('I9: auto takes base64 of an object for what it is, and JSON that is also base64 for JSON', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const text = JSON.stringify(value);
        expect(decodeMessage(toBase64(text), 'auto')).toMatchObject({ kind: 'decoded', text, encoding: 'base64' });
      }),
    );
    for (const text of ['1234', 'null', 'true', '12345678'])
      expect(decodeMessage(text, 'auto')).toMatchObject({ kind: 'decoded', text, encoding: 'plain' });
  });

  test('I14: whatever is decoded can be put back exactly as it was received', () => {
    fc.assert(
      fc.property(fc.oneof(json, json.map(toBase64), text), fc.constantFrom(...ENCODINGS), (raw, encoding) => {
        const message = decodeMessage(raw, encoding);
        if (message.kind === 'decoded') expect(encodeMessage(message.text, message.encoding)).toBe(raw);
      }),
      { numRuns: 500 },
    );
  });

  test('I9: never throws, and never quotes the text, which may hold secrets', () => {
    fc.assert(
      fc.property(text, fc.constantFrom(...ENCODINGS), (any, encoding) => {
        const message = decodeMessage(`${any} SECRET`, encoding);
        if (message.kind === 'undecodable') expect(message.problem.message).not.toContain('SECRET');
      }),
    );
  });
});

describe('validateTask', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 100 })
    .filter((text) => text.length <= 256 && text.isWellFormed() && !/\p{Cc}/u.test(text));

  test('takes any task of the contract, with fields that the contract does not name', () => {
    fc.assert(
      fc.property(name, name, fc.jsonValue(), fc.dictionary(fc.string(), fc.jsonValue()), (id, type, payload, more) => {
        const message = { ...more, task_id: id, task_type: type, payload, webhook_url: 'https://x.example/hook' };
        const verdict = validateTask(decoded(JSON.stringify(message)));
        expect(verdict).toMatchObject({
          kind: 'valid',
          task: { taskId: id, taskType: type, webhookUrl: 'https://x.example/hook' },
        });
        if (verdict.kind === 'valid') expect(verdict.task.payload).toEqual(JSON.parse(JSON.stringify(payload)));
      }),
    );
  });

  test('judges anything without throwing, and a field that is wrong is named', () => {
    const field = fc.oneof(name, fc.jsonValue());
    const message = fc.record({ task_id: field, task_type: field, webhook_url: field }, { requiredKeys: [] });
    fc.assert(
      fc.property(fc.oneof(message, fc.jsonValue()), (value) => {
        const verdict = validateTask(decoded(JSON.stringify(value)));
        if (verdict.kind === 'valid') return;
        for (const problem of verdict.problems) expect(problem.message).not.toBe('');
        const named = verdict.problems.map((problem) => problem.field);
        const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
        expect(
          named.some((one) => (isObject ? /^(task_id|task_type|webhook_url)$/.test(one) : one === 'message')),
        ).toBe(true);
      }),
    );
  });
});

describe('what every message must survive', () => {
  const good = { task_id: 't-1', task_type: 'echo', payload: {} };
  const withField = (field: string, value: unknown) => JSON.stringify({ ...good, [field]: value });
  const control = 'must not contain control characters';
  const url = 'must be an absolute http or https URL';
  const deep = (levels: number) =>
    `{"task_id":"t","task_type":"echo","payload":${'['.repeat(levels)}${']'.repeat(levels)}}`;

  const bad: readonly (readonly [what: string, raw: string, problem: RegExp])[] = [
    ['no text', '', /^message is neither JSON \(it is empty\)/],
    ['blanks', ' \n\t', /^message is neither JSON \(it is empty\)/],
    ['no JSON', 'task=1', /^message is neither JSON \(unexpected character\) nor base64 of UTF-8 JSON$/],
    ['JSON with a fault', '{"task_id":"t",}', /^message is neither JSON \(fault at position 15\)/],
    ['JSON cut short', '{"task_id":', /^message is neither JSON \(it ends too early\)/],
    [
      'a byte order mark',
      `\ufeff${JSON.stringify(good)}`,
      /^message is neither JSON \(it starts with a byte order mark\)/,
    ],
    [
      'a byte order mark in base64',
      toBase64(`\ufeff${JSON.stringify(good)}`),
      /^message is base64, but .*byte order mark$/,
    ],
    [
      'base64 of bytes that are no UTF-8',
      Buffer.from([0x7b, 0xff, 0xfe, 0x7d, 0, 0]).toString('base64'),
      /^message is neither JSON/,
    ],
    [
      'base64 of a lone surrogate, as CESU-8',
      Buffer.from('{"a":"\xed\xa0\x80"}', 'latin1').toString('base64'),
      /^message is neither JSON/,
    ],
    ['base64 of no JSON', toBase64('hello world!'), /^message is base64, but what it holds is not JSON/],
    ['NaN, which Python writes', '{"task_id":"t","task_type":"echo","payload":NaN}', /^message is neither JSON/],
    ['the root is null', 'null', /^message must be a JSON object, got null$/],
    ['the root is a number', '1234', /^message must be a JSON object, got a number$/],
    ['the root is a text', '"task"', /^message must be a JSON object, got a string$/],
    ['the root is a list', '[{"task_id":"t","task_type":"echo"}]', /^message must be a JSON object, got an array$/],
    ['the root is an empty object', '{}', /^task_id is missing; task_type is missing$/],
    ['task_id is missing', '{"task_type":"echo"}', /^task_id is missing$/],
    ['task_type is missing', '{"task_id":"t"}', /^task_type is missing$/],
    ['task_id is a number', withField('task_id', 7), /^task_id must be a string, got a number$/],
    ['task_id is null', withField('task_id', null), /^task_id must be a string, got null$/],
    ['task_id is a list', withField('task_id', ['t']), /^task_id must be a string, got an array$/],
    ['task_type is an object', withField('task_type', {}), /^task_type must be a string, got an object$/],
    ['task_type is a boolean', withField('task_type', true), /^task_type must be a string, got a boolean$/],
    ['task_id is empty', withField('task_id', ''), /^task_id must not be empty$/],
    ['task_id of 257 characters', withField('task_id', 'x'.repeat(257)), /^task_id must have at most 256 characters$/],
    ['task_id with a NUL', withField('task_id', 'a\u0000b'), new RegExp(`^task_id ${control}$`)],
    ['task_id with a line break', withField('task_id', 'a\nb'), new RegExp(`^task_id ${control}$`)],
    ['task_type with an escape sequence', withField('task_type', '\u001b[31m'), new RegExp(`^task_type ${control}$`)],
    ['task_type with a C1 control', withField('task_type', '\u0085'), new RegExp(`^task_type ${control}$`)],
    [
      'task_id with a lone surrogate',
      '{"task_id":"\\ud800","task_type":"echo"}',
      /^task_id must be well-formed Unicode/,
    ],
    [
      'task_type with a low surrogate first',
      '{"task_id":"t","task_type":"\\udc00\\ud800"}',
      /^task_type must be well-formed/,
    ],
    [
      'an unescaped control character',
      '{"task_id":"a\u0001b","task_type":"echo"}',
      /^message is neither JSON \(fault at position 13\)/,
    ],
    [
      'webhook_url is a number',
      withField('webhook_url', 1),
      /^webhook_url must be an absolute http or https URL, got a number$/,
    ],
    ['webhook_url is empty', withField('webhook_url', ''), new RegExp(`^webhook_url ${url}$`)],
    ['webhook_url is relative', withField('webhook_url', '/hook'), new RegExp(`^webhook_url ${url}$`)],
    ['webhook_url has no scheme', withField('webhook_url', 'example.com/hook'), new RegExp(`^webhook_url ${url}$`)],
    ['webhook_url is javascript:', withField('webhook_url', 'javascript:alert(1)'), new RegExp(`^webhook_url ${url}$`)],
    ['webhook_url is file:', withField('webhook_url', 'file:///etc/passwd'), new RegExp(`^webhook_url ${url}$`)],
    [
      'webhook_url is hidden javascript:',
      withField('webhook_url', 'java\nscript:alert(1)'),
      new RegExp(`^webhook_url ${url}$`),
    ],
    [
      'webhook_url has 8,193 characters',
      withField('webhook_url', `https://x/${'p'.repeat(8183)}`),
      /^webhook_url must have at most 8192/,
    ],
    ['a key stands twice', '{"task_id":"a","task_id":"b","task_type":"echo"}', /^task_id stands twice in the message/],
    [
      'a key stands twice, once escaped',
      '{"task_id":"a","\\u0074ask_id":"b","task_type":"echo"}',
      /^task_id stands twice/,
    ],
    [
      '__proto__ stands twice',
      '{"task_id":"a","task_type":"echo","__proto__":1,"__proto__":2}',
      /^__proto__ stands twice/,
    ],
    ['the empty key stands twice', '{"task_id":"a","task_type":"echo","":1,"":2}', /^"" stands twice/],
    [
      '60,000 brackets',
      deep(30_000),
      new RegExp(`^message is nested 30001 levels deep; at most ${MAX_DEPTH} are accepted$`),
    ],
    ['one level too many', deep(MAX_DEPTH), /^message is nested 501 levels deep/],
    [
      '60,000 brackets at the root',
      `${'['.repeat(30_000)}${']'.repeat(30_000)}`,
      /^message is nested .*; message must be a JSON object/,
    ],
    ['task_type hidden in __proto__', '{"task_id":"t","__proto__":{"task_type":"echo"}}', /^task_type is missing$/],
  ];

  test.each(bad)('is refused with its field named: %s', (_, raw, problem) => {
    const message = decodeMessage(raw, 'auto');
    if (message.kind === 'undecodable') {
      expect(`${message.problem.field} ${message.problem.message}`).toMatch(problem);
      return;
    }
    const verdict = validateTask(message);
    if (verdict.kind !== 'invalid') throw new Error('it was accepted');
    expect(verdict.problems.map((one) => `${one.field} ${one.message}`).join('; ')).toMatch(problem);
  });

  const fine: readonly (readonly [what: string, raw: string])[] = [
    ['64 KiB', JSON.stringify({ ...good, payload: 'x'.repeat(65_536 - 60) })],
    ['task_id of 256 characters', withField('task_id', 'x'.repeat(256))],
    ['task_id of 256 UTF-16 units of emoji', withField('task_id', '🚢'.repeat(128))],
    ['task_id __proto__', withField('task_id', '__proto__')],
    ['task_type constructor', withField('task_type', 'constructor')],
    ['task_type ../../x', withField('task_type', '../../x')],
    ['task_id $(HOME)', withField('task_id', '$(HOME)')],
    ['task_id of odd spaces', withField('task_id', '\u00a0\u2028\u200b')],
    ['a field __proto__', '{"task_id":"t","task_type":"echo","__proto__":{"polluted":true}}'],
    ['a field constructor', withField('constructor', { prototype: {} })],
    ['a huge number', '{"task_id":"t","task_type":"echo","payload":1e999}'],
    ['a long number', `{"task_id":"t","task_type":"echo","payload":${'9'.repeat(40_000)}}`],
    ['no payload', '{"task_id":"t","task_type":"echo"}'],
    ['payload null', withField('payload', null)],
    ['a lone surrogate in the payload', '{"task_id":"t","task_type":"echo","payload":"\\ud800"}'],
    ['a NUL in the payload, escaped', withField('payload', '\u0000')],
    ['a key that stands twice, deeper', '{"task_id":"t","task_type":"echo","payload":{"a":1,"a":2}}'],
    ['whitespace around', ` \r\n\t${JSON.stringify(good)}\n`],
    ['as deep as allowed', deep(MAX_DEPTH - 1)],
    ['webhook_url null', withField('webhook_url', null)],
    ['webhook_url with credentials', withField('webhook_url', 'https://user:pass@example.com/hook')],
    ['webhook_url of http and a port', withField('webhook_url', 'http://10.0.0.7:8080/hook?x=1#y')],
  ];

  test.each(fine)('is taken: %s', (_, raw) => {
    for (const text of [raw, toBase64(raw)]) {
      const message = decodeMessage(text, 'auto');
      if (message.kind !== 'decoded') throw new Error(message.problem.message);
      expect(message.text).toBe(raw);
      expect(validateTask(message)).toMatchObject({ kind: 'valid' });
    }
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });

  test('a wrong message still tells where its failure may be reported, if it can be read', () => {
    const verdict = (fields: object) => validateTask(decoded(JSON.stringify(fields)));
    expect(verdict({ task_id: 't', webhook_url: 'https://x.example' })).toMatchObject({
      taskId: 't',
      webhookUrl: 'https://x.example',
    });
    expect(verdict({ task_id: 7, webhook_url: 'javascript:x' })).toMatchObject({
      taskId: undefined,
      webhookUrl: undefined,
    });
    expect(verdict([{ webhook_url: 'https://x.example' }])).toMatchObject({ taskId: undefined, webhookUrl: undefined });
  });
});

test('type and id are read from anything, for the name, before anything is judged', () => {
  expect(rawTaskType({ task_type: 'echo' })).toBe('echo');
  expect(rawTaskId({ task_id: 't' })).toBe('t');
  for (const value of [null, 1, 'text', [], ['task_type'], {}, { task_type: 1, task_id: {} }, undefined]) {
    expect(rawTaskType(value)).toBe('');
    expect(rawTaskId(value)).toBe('');
  }
});
