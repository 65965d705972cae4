/** What a process of this machine has used, from Linux's /proc. */
import { readFile } from 'node:fs/promises';

/** Resident bytes, and seconds of CPU since its start. */
export interface Usage {
  readonly rssBytes: number;
  readonly cpuSeconds: number;
}

/** Linux counts CPU time in hundredths of a second wherever Node.js runs. */
const TICKS_PER_SECOND = 100;

/** Looks. @throws Error when there is no such process */
export async function usageOf(pid: number | undefined): Promise<Usage> {
  const [status, stat] = await Promise.all(['status', 'stat'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8')));
  const rss = /VmRSS:\s+(\d+) kB/.exec(status ?? '')?.[1];
  // After the name, which may hold anything, utime and stime are the 12th and 13th.
  const fields = (stat ?? '').slice((stat ?? '').lastIndexOf(')') + 2).split(' ');
  return {
    rssBytes: Number(rss) * 1024,
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
  };
}
