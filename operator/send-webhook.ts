/** The operator's way of sending a webhook: the shared delivery with this installation's settings. */
import type { Clock } from '../lib/clock.ts';
import type { Secret } from '../lib/secret.ts';
import { type DeliveryResult, deliver } from '../webhook/delivery.ts';
import type { FileConfig } from './config-schema.ts';
import type { Metrics } from './metrics.ts';

/** What to send where; `id` is the `webhook-id`. */
export interface OutgoingWebhook {
  readonly url: string;
  readonly id: string;
  readonly body: string;
}

/** Tries a delivery once. Never throws. */
export type SendWebhook = (webhook: OutgoingWebhook, signal?: AbortSignal) => Promise<DeliveryResult>;

/**
 * Binds settings, secrets and metrics.
 *
 * @param settingsNow the settings as they are configured at each delivery
 */
export function createSendWebhook(
  settingsNow: () => FileConfig['webhook'],
  secrets: readonly Secret[],
  metrics: Metrics,
  clock: Clock,
): SendWebhook {
  return async (webhook, signal) => {
    const settings = settingsNow();
    const result = await deliver(
      {
        ...webhook,
        secrets,
        allow: settings.allow,
        timeoutMs: settings.timeoutSeconds * 1000,
      },
      clock,
      signal,
    );
    metrics.webhooks.inc({ result: result.kind });
    return result;
  };
}
