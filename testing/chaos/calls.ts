/** What the queue service was asked for and did, read off the wire: messages removed, poison copies put. */
import { parseEnvelope } from '#/contract/poison.ts';
import type { QueueCall } from '#/testing/chaos/history.ts';
import type { AnsweredRequest } from '#/testing/fault-proxy.ts';

/** The call that a request was; undefined for one that changed nothing, or nothing of this. */
export function queueCall({ operation, path, status, body, at }: AnsweredRequest): QueueCall | undefined {
  if (status < 200 || status > 299) return undefined;
  const [, , queue = '', , messageId] = new URL(path, 'http://any').pathname.split('/');
  if (operation === 'remove') return { kind: 'removed', messageId: decodeURIComponent(messageId ?? ''), at };
  if (operation !== 'put' || !queue.endsWith('-poison')) return undefined;
  const [, text = ''] = /<MessageText>(.*)<\/MessageText>/s.exec(body.toString('utf8')) ?? [];
  const envelope = parseEnvelope(textOfXml(text));
  return envelope && { kind: 'poisoned', messageId: envelope.id, at };
}

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };

function textOfXml(xml: string): string {
  return xml.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(lt|gt|quot|apos|amp));/gi, (_, hex, decimal, name) =>
    name === undefined
      ? String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16))
      : (ENTITIES[name] ?? ''),
  );
}
