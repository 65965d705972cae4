/** What two clients put into their queues, and how each message is to end. */
import { readFile } from 'node:fs/promises';
import { BlobServiceClient } from '@azure/storage-blob';
import { QueueServiceClient } from '@azure/storage-queue';
import type { Category } from '#/contract/diagnosis.ts';

/** A client with its queue. Producers differ in how they write a message. */
export interface Client {
  readonly name: string;
  readonly queue: string;
  readonly encoding: 'plain' | 'base64';
}

export const clients: readonly [Client, Client] = [
  { name: 'acme', queue: 'acme-tasks', encoding: 'plain' },
  { name: 'globex', queue: 'globex-tasks', encoding: 'base64' },
];

/** How a message is to end: its task done, or failed after so many attempts, or never started. */
type Expected =
  | { readonly kind: 'completed' }
  | { readonly kind: 'failed'; readonly category: Category; readonly attempts: number }
  | { readonly kind: 'refused'; readonly category: Category };

interface PlannedMessage {
  readonly client: Client;
  readonly taskId: string;
  /** None: the message is malformed. */
  readonly type?: string;
  readonly payload: unknown;
  readonly expected: Expected;
}

/** A message in its queue. */
export interface SentMessage extends PlannedMessage {
  readonly id: string;
}

/** The blob container of the documents. */
const CONTAINER = 'documents';
const DOCUMENTS = ['report.pdf', 'notice.html', 'crew.docx', 'handbook.md', 'damaged.pdf'] as const;

function planned(): readonly PlannedMessage[] {
  const [acme, globex] = clients;
  const completed: Expected = { kind: 'completed' };
  const document = (client: Client, path: (typeof DOCUMENTS)[number], expected: Expected = completed) => {
    return { client, taskId: path, type: 'document-processing', payload: { container: CONTAINER, path }, expected };
  };
  return [
    document(acme, 'report.pdf'),
    document(acme, 'notice.html'),
    {
      client: acme,
      taskId: 'print-labels',
      type: 'echo',
      payload: { sleepMs: 300, fail: 'the printer is out of paper' },
      expected: { kind: 'failed', category: 'TaskFailed', attempts: 3 },
    },
    {
      client: acme,
      taskId: 'no-type',
      payload: { note: 'this producer forgot task_type' },
      expected: { kind: 'refused', category: 'Malformed' },
    },
    document(globex, 'crew.docx'),
    document(globex, 'handbook.md'),
    // What is wrong with a document is so at every attempt: there is one.
    document(globex, 'damaged.pdf', { kind: 'failed', category: 'TaskFailed', attempts: 1 }),
    {
      client: globex,
      taskId: 'greeting',
      type: 'echo',
      payload: { sleepMs: 1500, hello: 'globex' },
      expected: completed,
    },
  ];
}

/** Uploads the documents and puts the messages, as any producer does. */
export async function produce(
  connectionString: string,
  webhookUrl: (client: Client) => string,
): Promise<SentMessage[]> {
  const container = BlobServiceClient.fromConnectionString(connectionString).getContainerClient(CONTAINER);
  await container.create();
  for (const name of DOCUMENTS)
    await container
      .getBlockBlobClient(name)
      .uploadData(await readFile(new URL(`../fixtures/${name}`, import.meta.url)));

  const queues = QueueServiceClient.fromConnectionString(connectionString);
  const sent: SentMessage[] = [];
  for (const message of planned()) {
    const { client, taskId, type, payload } = message;
    const text = JSON.stringify({ task_id: taskId, task_type: type, payload, webhook_url: webhookUrl(client) });
    const encoded = client.encoding === 'base64' ? Buffer.from(text).toString('base64') : text;
    const { messageId } = await queues.getQueueClient(client.queue).sendMessage(encoded);
    sent.push({ ...message, id: messageId });
  }
  return sent;
}
