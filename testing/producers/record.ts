/**
 * Records what Python's azure-storage-queue leaves in a queue: `node testing/producers/record.ts PYTHON`, where PYTHON is an interpreter
 * that has the package (python3 -m venv, then pip install azure-storage-queue).
 */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { systemClock } from '#/lib/clock.ts';
import { storageAccess } from '#/queue/access.ts';
import { createQueueService } from '#/queue/service.ts';
import { startAzurite } from '#/testing/azurite.ts';

const QUEUE = 'acme-tasks';

const [python = 'python3'] = process.argv.slice(2);
await using azurite = await startAzurite({ blob: false });
const access = storageAccess(azurite.connectionString, undefined);
if (access.kind === 'invalid') throw new Error(access.problem);
const service = createQueueService(access, systemClock);
await service.ensureQueue(QUEUE);

const send = fileURLToPath(new URL('./send.py', import.meta.url));
const { stdout } = await promisify(execFile)(python, [send, azurite.connectionString, QUEUE]);
const { producer, sent } = JSON.parse(stdout) as { producer: string; sent: readonly { how: string; text: string }[] };
const received = await service.receive(QUEUE, 32, 60);
if (received.length !== sent.length) throw new Error(`${sent.length} messages were sent, ${received.length} came`);

const messages = sent.map(({ how, text }, at) => ({ how, raw: received[at]?.text, text }));
const file = new URL('./python.json', import.meta.url);
await writeFile(file, `${JSON.stringify({ producer, messages }, null, 2)}\n`);
