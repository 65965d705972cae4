/** An operator without work: how soon it takes a message, and what its queue costs. */
import { DONE, type Site, settled, wait } from '#/bench/site.ts';
import { figure, ms, percentile, type Row } from '#/bench/table.ts';

const ROUNDS = 25;
const IDLE_MS = 60_000;

/** Enqueue → Job with a queue that is asked each second, beside one bare create. */
export async function latency(site: Site, tell: (line: string) => void): Promise<readonly Row[]> {
  tell('enqueue → Job on an idle queue');
  await using operator = await site.start({ polling: { minIntervalSeconds: 1, maxIntervalSeconds: 1 } });
  await operator.waitFor('a known view', (line) => line.msg === 'the Jobs are known');
  const ours: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await wait(700 + 900 * Math.random());
    const sent = Date.now();
    await site.queues.put('acme-tasks', { task_id: `idle-${round}`, task_type: DONE, payload: round });
    const line = await operator.waitFor(
      'its Job',
      ({ msg, taskId }) => msg === 'the Job was created' && taskId === `idle-${round}`,
    );
    ours.push(Date.parse(String(line['time'])) - sent);
  }
  await settled(site, tell);
  await operator.stop();
  const job = await site.anyJob();
  const bare: number[] = [];
  for (let round = 0; round < ROUNDS; round++) bare.push(1000 * (await site.createBare(job, 1, 1)));
  const both = (times: readonly number[]) => `${ms(percentile(times, 0.5))} / ${ms(percentile(times, 0.95))}`;
  return [
    {
      what: 'enqueue → Job, idle queue asked each second (p50 / p95)',
      ours: both(ours),
      baseline: `${both(bare)} one bare create`,
    },
  ];
}

/** Calls of one idle queue, counted for a minute each. */
export async function idleCost(site: Site, price: number, tell: (line: string) => void): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const maxIntervalSeconds of [1, 5]) {
    tell(`an idle queue, asked every ${maxIntervalSeconds} s at the most`);
    await using operator = await site.start({ polling: { minIntervalSeconds: 1, maxIntervalSeconds } });
    await operator.waitFor('a known view', (line) => line.msg === 'the Jobs are known');
    // Until the interval has grown to its maximum.
    await wait(15_000);
    const before = site.queueProxy.requests.length;
    await wait(IDLE_MS);
    const hourly = (site.queueProxy.requests.length - before) * (3_600_000 / IDLE_MS);
    rows.push({
      what: `idle queue, maxIntervalSeconds ${maxIntervalSeconds}: calls per hour`,
      ours: figure(hourly),
      baseline: `$${figure((hourly * 730 * price) / 10_000)} a month at $${price} for 10,000`,
    });
    await operator.stop();
  }
  return rows;
}
