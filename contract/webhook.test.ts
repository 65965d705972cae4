import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyText } from '../testing/texts.ts';
import golden from './golden/webhook.json' with { type: 'json' };
import { formatWebhook, WEBHOOK_FORMATS, webhookBodySchema, webhookId, webhookIdBase } from './webhook.ts';

describe('webhook-id', () => {
  test.each(golden.id)('I8: is the same in every release: $base', ({ base, completed, failed, cancelled, ...ref }) => {
    expect(webhookIdBase(ref)).toBe(base);
    expect(webhookId(base, 'completed')).toBe(completed);
    expect(webhookId(base, 'failed')).toBe(failed);
    expect(webhookId(base, 'cancelled')).toBe(cancelled);
  });

  test('I8: holds no dot, which the signed content uses as its separator', () => {
    const text = anyText();
    fc.assert(
      fc.property(fc.record({ account: text, queue: text, messageId: text }), (ref) => {
        expect(webhookId(webhookIdBase(ref), 'completed')).toMatch(/^[0-9a-f]{32}_completed$/);
      }),
    );
  });
});

describe('formatWebhook', () => {
  test.each(golden.format)('format $format of a $body.status task', ({ body, format, text }) => {
    const known = WEBHOOK_FORMATS.find((one) => one === format);
    expect(known).toBeDefined();
    expect(formatWebhook(webhookBodySchema.parse(body), known ?? 'slipway')).toBe(text);
  });

  test('what format slipway writes reads back as the same body', () => {
    const time = fc.date({ noInvalidDate: true }).map((date) => date.toISOString());
    const body = fc.record(
      {
        task_id: fc.string(),
        task_type: fc.string(),
        client_id: fc.string(),
        status: fc.constantFrom('completed' as const, 'failed' as const, 'cancelled' as const),
        started_at: fc.option(time),
        finished_at: time,
        duration_ms: fc.nat(),
        result: fc.jsonValue(),
        error: fc.record({ code: fc.string(), message: fc.string(), hint: fc.string() }),
      },
      {
        requiredKeys: ['task_id', 'task_type', 'client_id', 'status', 'started_at', 'finished_at', 'duration_ms'],
      },
    );
    fc.assert(
      fc.property(body, (any) => {
        const text = formatWebhook(any, 'slipway');
        expect(webhookBodySchema.parse(JSON.parse(text))).toEqual(JSON.parse(text));
      }),
    );
  });
});
