import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../lib/clock.ts';
import { Secret } from '../lib/secret.ts';
import { signingSecretProblem, webhookHeaders } from './signature.ts';

const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;

describe('webhookHeaders', () => {
  test('carries no signature without a secret', () => {
    expect(webhookHeaders('abc_completed', 1_700_000_000_999, '{}', [])).toEqual({
      'webhook-id': 'abc_completed',
      'webhook-timestamp': '1700000000',
    });
  });

  test('is the example of the specification', () => {
    const secret = new Secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
    const body = '{"test": 2432232314}';
    expect(webhookHeaders('msg_p5jXN8AQM9LWM0D4loKWxJek', 1_614_265_330_000, body, [secret])['webhook-signature']).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    );
  });

  test('any body convinces the reference verifier, by each of several secrets', () => {
    const [former, latter] = [newSecret(), newSecret()];
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const body = JSON.stringify(text);
        const headers = webhookHeaders('abc_failed', systemClock.now(), body, [new Secret(former), new Secret(latter)]);
        expect(new Webhook(former).verify(body, headers)).toBe(text);
        expect(new Webhook(latter).verify(body, headers)).toBe(text);
        expect(() => new Webhook(newSecret()).verify(body, headers)).toThrow();
        expect(() => new Webhook(former).verify(`${body} `, headers)).toThrow();
      }),
    );
  });
});

describe('signingSecretProblem', () => {
  test('accepts 24 to 64 bytes', () => {
    for (const size of [24, 32, 64]) {
      expect(signingSecretProblem(new Secret(`whsec_${randomBytes(size).toString('base64')}`))).toBeUndefined();
    }
  });

  test.each([
    '',
    'secret',
    'whsec_',
    'whsec_short',
    `whsec_${'A'.repeat(200)}`,
    'whsec_!!!!',
    newSecret().slice('whsec_'.length),
    `${newSecret()}\n`,
  ])('refuses %j without showing it', (text) => {
    const problem = signingSecretProblem(new Secret(text));
    expect(problem).toMatch(/^is no signing secret/);
    if (text.length > 6) expect(problem).not.toContain(text.trim());
  });
});
