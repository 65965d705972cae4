/** document-processing with the runner as a process, Azurite in this one, and PostgreSQL beside it. */
import { startAzurite } from '#/testing/azurite.ts';
import { startPostgres } from '#/testing/postgres.ts';
import { startRunnerProcess } from '#/testing/runner-process.ts';
import { documentSuite } from '#/testing/suites/documents.ts';

documentSuite(async () => {
  await using starting = new AsyncDisposableStack();
  const azurite = starting.use(await startAzurite({ queue: false }));
  const { pool } = starting.use(await startPostgres());
  const running = starting.move();
  return {
    connectionString: azurite.connectionString,
    pool,
    start: startRunnerProcess,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
});
