/**
 * The operator as it is, but for one thing: at the step named by its argument the whole process stands still, so that whoever kills it
 * then kills it exactly there.
 */
import { writeSync } from 'node:fs';
import { main } from '#/operator/main.ts';

const [step] = process.argv.slice(2);

process.exitCode = await main({
  checkpoint: async (name) => {
    if (name !== step) return;
    writeSync(process.stdout.fd, `reached ${name}\n`);
    // Blocks the thread: nothing else of the operator goes on either.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
});
