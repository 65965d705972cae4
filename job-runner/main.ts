/** The runner: TASK_DATA → one task → exit code. */
import { HANDLER_TYPES, loadHandler } from './handlers/registry.ts';
import { runProcess } from './run-process.ts';

// A handler may leave sockets and timers behind: the process is ended, not left to end.
process.exit(await runProcess({ types: HANDLER_TYPES, load: loadHandler }));
