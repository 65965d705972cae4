/** Many messages at once: how fast their Jobs are made, and what a task costs in calls from its receipt to the delete of its message. */
import { counted, isWrite, readRequests } from '#/bench/requests.ts';
import { DONE, put, type Site, settled, until } from '#/bench/site.ts';
import { figure, type Row } from '#/bench/table.ts';
import { usageOf } from '#/bench/usage.ts';

/** As many creates as the operator has under way at once (operator/admission/turns.ts). */
const AT_ONCE = 32;

/** Puts the messages before the operator starts, and waits until all are settled. */
export async function burst(site: Site, count: number, tell: (line: string) => void): Promise<readonly Row[]> {
  const job = await site.anyJob();
  const loop = Math.min(count, 1000);
  tell(`creating ${loop} bare Jobs, ${AT_ONCE} at once, and ${Math.ceil(loop / 10)} one by one`);
  const bare = loop / (await site.createBare(job, loop, AT_ONCE));
  const single = Math.ceil(loop / 10) / (await site.createBare(job, Math.ceil(loop / 10), 1));
  await bareEnded(site, tell);
  tell(`putting ${count} messages`);
  await put(site, DONE, count);
  const before = { jobs: await site.count('jobs'), calls: site.queueProxy.requests.length };
  const from = Date.now();
  await using operator = await site.start();
  tell('the operator makes their Jobs');
  await until(async () => {
    const made = (await site.count('jobs')) - before.jobs;
    return made >= count ? undefined : `${made} of ${count} Jobs`;
  }, tell);
  tell('they end, and are settled');
  await settled(site, tell);
  const { cpuSeconds } = await usageOf(operator.pid);
  await operator.stop();
  const made = (await site.count('jobs')) - before.jobs;
  if (made !== count) throw new Error(`${count} messages became ${made} Jobs`);

  const requests = await readRequests(site.auditLog, site.user, { from, until: Date.now() });
  const creates = requests.filter(({ operation, status }) => operation === 'create jobs' && status === 201);
  if (creates.length !== count) throw new Error(`the audit log has ${creates.length} Jobs created of ${count}`);
  const seconds =
    (Math.max(...creates.map(({ answeredAt }) => answeredAt)) - Math.min(...creates.map(({ at }) => at))) / 1000;
  const writes = requests.filter(isWrite).map(({ operation }) => operation);
  const calls = site.queueProxy.requests.slice(before.calls).map(({ operation }) => operation);
  return [
    {
      what: `burst of ${count.toLocaleString('en-US')} messages: Jobs created per second`,
      ours: figure(count / seconds),
      baseline: `${figure(bare)} a loop of ${AT_ONCE} at once; ${figure(single)} one by one`,
    },
    { what: '  API writes per task', ours: figure(writes.length / count), baseline: shares(writes, count) },
    { what: '  queue calls per task', ours: figure(calls.length / count), baseline: shares(calls, count) },
    { what: '  CPU of the operator per task', ours: `${figure((1000 * cpuSeconds) / count)} ms`, baseline: '' },
  ];
}

/** Such as `1 create jobs, 1.02 patch jobs`. */
function shares(operations: readonly string[], tasks: number): string {
  return counted(operations)
    .map(([operation, times]) => `${figure(times / tasks)} ${operation}`)
    .join(', ');
}

/** The loop's Jobs are not to keep the controllers busy while the operator is measured. */
async function bareEnded({ cluster }: Site, tell: (line: string) => void): Promise<void> {
  await until(async () => {
    const counts = await cluster.kubectl(['-n', 'bare', 'get', 'jobs', '-o', 'jsonpath={.items[*].status.active}']);
    const active = counts.split(' ').filter((text) => text !== '').length;
    return active === 0 ? undefined : `${active} bare Jobs have not ended`;
  }, tell);
}
