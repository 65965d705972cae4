import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where binaries, images and other things that outlive a test run are kept: never in the checkout. */
export const cacheDirectory = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'slipway');
