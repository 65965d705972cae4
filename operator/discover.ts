/** Which queues of an account are received from. Pure. */
import { clientOf, MAX_CLIENT_LENGTH } from '../contract/identity.ts';
import type { Source } from './config.ts';
import type { FileConfig } from './config-schema.ts';
import { fitsPattern } from './name-pattern.ts';

/**
 * The sources among the account's queues. Only queues named {client}-tasks, never a poison queue, and none whose own poison queue would
 * have too long a name.
 */
export function discover(names: readonly string[], discovery: NonNullable<FileConfig['discovery']>): readonly Source[] {
  return names.flatMap((queue) => {
    const client = clientOf(queue);
    const fits = (pattern: string) => fitsPattern(pattern, queue);
    if (client === undefined || client.length > MAX_CLIENT_LENGTH) return [];
    if (!discovery.include.some(fits) || discovery.exclude.some(fits)) return [];
    return [{ queue, client, encoding: discovery.encoding, discovered: true }];
  });
}
