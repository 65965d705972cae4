/** Many tasks that run: the operator's memory, CPU and traffic, at its start and while nothing changes but their leases. */
import { counted, readRequests } from '#/bench/requests.ts';
import { put, type Site, STAYS, until, wait } from '#/bench/site.ts';
import { figure, ms, type Row, size } from '#/bench/table.ts';
import { usageOf } from '#/bench/usage.ts';
import { eventually } from '#/testing/eventually.ts';

const STEADY_MS = 60_000;
/** Renewed when a third is left: each lease once in the steady minute. By default it is once in 400 s. */
const LEASES = { lease: { renewSeconds: 90 } };
const READY_MS = 120_000;

interface Measured {
  readonly jobs: number;
  readonly readyMs: number;
  /** From the API server, until it was ready. */
  readonly listedBytes: number;
  readonly startCpuSeconds: number;
  readonly rssBytes: number;
  /** In the minute after that. */
  readonly steady: {
    readonly bytes: number;
    readonly cpuSeconds: number;
    readonly requests: readonly string[];
    readonly calls: readonly string[];
  };
}

/** Has so many tasks running, then starts the operator anew and watches it; beside the same with no more than `site` has. */
export async function live(site: Site, count: number, tell: (line: string) => void): Promise<readonly Row[]> {
  tell('the operator without running tasks');
  const empty = await measure(site);
  tell(`putting ${count} messages`);
  const before = { jobs: await site.count('jobs'), pods: await site.count('pods') };
  await put(site, STAYS, count);
  {
    await using operator = await site.start(LEASES);
    await until(async () => {
      const jobs = (await site.count('jobs')) - before.jobs;
      const pods = (await site.count('pods')) - before.pods;
      return jobs >= count && pods >= count ? undefined : `${jobs} of ${count} Jobs, ${pods} pods`;
    }, tell);
    tell('all run; waiting for their first renewals');
    await wait(60_000);
    // Not stopped: it would extend the leases, and for minutes there would be none to renew.
    await operator.kill();
  }
  tell(`the operator with ${count} running tasks`);
  const full = await measure(site);
  const beside = `with ${empty.jobs} Jobs, none running`;
  const row = (what: string, figureOf: (measured: Measured) => string): Row => ({
    what: `  ${what}`,
    ours: figureOf(full),
    baseline: `${figureOf(empty)} ${beside}`,
  });
  const requests = (what: string, operationsOf: (measured: Measured) => readonly string[]): Row => ({
    what: `  ${what}`,
    ours: figure(operationsOf(full).length),
    baseline: `${operationsOf(empty).length} ${beside} (${listed(operationsOf(full))})`,
  });
  return [
    {
      what: `${count.toLocaleString('en-US')} running tasks (${full.jobs.toLocaleString('en-US')} Jobs)`,
      ours: '',
      baseline: 'each lease renewed once a minute; by default once in 400 s',
    },
    row('start to ready', ({ readyMs }) => ms(readyMs)),
    row('CPU until ready', ({ startCpuSeconds }) => `${figure(startCpuSeconds)} s`),
    row('list traffic until ready', ({ listedBytes }) => size(listedBytes)),
    row('resident memory', ({ rssBytes }) => size(rssBytes)),
    row('CPU of a steady minute', ({ steady }) => `${figure(steady.cpuSeconds)} s`),
    row('watch traffic of a steady minute', ({ steady }) => size(steady.bytes)),
    requests('API requests of a steady minute', ({ steady }) => steady.requests),
    requests('queue calls of a steady minute', ({ steady }) => steady.calls),
  ];
}

async function measure(site: Site): Promise<Measured> {
  const bytesBefore = site.relay.received;
  const from = Date.now();
  await using operator = await site.start(LEASES);
  const port = await operator.port;
  await eventually(
    async () => {
      if ((await fetch(`http://127.0.0.1:${port}/readyz`)).status !== 200) throw new Error('not ready');
    },
    READY_MS,
    5,
  );
  const readyMs = Date.now() - from;
  const listedBytes = site.relay.received - bytesBefore;
  const start = await usageOf(operator.pid);
  const known = await operator.waitFor('a known view', (line) => line.msg === 'the Jobs are known');
  // Until what a start brings is over: each Job is looked at once.
  await wait(15_000);
  const [usage, bytes, calls, since] = [
    await usageOf(operator.pid),
    site.relay.received,
    site.queueProxy.requests.length,
    Date.now(),
  ];
  await wait(STEADY_MS);
  const after = await usageOf(operator.pid);
  const steady = {
    bytes: site.relay.received - bytes,
    cpuSeconds: after.cpuSeconds - usage.cpuSeconds,
    calls: site.queueProxy.requests.slice(calls).map(({ operation }) => operation),
  };
  const requests = await readRequests(site.auditLog, site.user, { from: since, until: since + STEADY_MS });
  await operator.stop();
  return {
    jobs: Number(known['jobs']),
    readyMs,
    listedBytes,
    startCpuSeconds: start.cpuSeconds,
    rssBytes: after.rssBytes,
    steady: { ...steady, requests: requests.map(({ operation }) => operation) },
  };
}

function listed(operations: readonly string[]): string {
  const all = counted(operations).map(([operation, times]) => `${times} ${operation}`);
  return all.length === 0 ? 'none' : all.join(', ');
}
