/** Why a container group is not made, or does not start, in the words that the rest of the operator knows. Pure. */
import { isKind, type ServiceError } from '../../lib/errors.ts';
import { NO_ROOM, REFUSED, type Trouble } from './attempts.ts';
import type { GroupRecord } from './groups.ts';

const LONGEST = 800;
/** What the service says where there is no room, under whatever code. */
const ROOM = /quota|not available in the location|capacity|too many requests|throttl/i;
const PULL = /pull|inaccessible ?image|registry|manifest/i;

/** By the events of a group that is there; undefined when nothing is said against its start. */
export function troubleOf({ events, provisioning }: GroupRecord): Trouble | undefined {
  const last = events.findLast(({ name }) => /fail|error|backoff/i.test(name));
  if (last === undefined)
    return provisioning === 'Failed'
      ? { reason: 'ProvisioningFailed', message: 'the service gave the container group up and says nothing more' }
      : undefined;
  const message = `${last.name}: ${last.message}`.slice(0, LONGEST);
  if (PULL.test(message)) return { reason: 'ErrImagePull', message };
  if (ROOM.test(message)) return { reason: NO_ROOM, message };
  if (/mount/i.test(last.name)) return { reason: 'CreateContainerConfigError', message };
  return provisioning === 'Failed'
    ? { reason: 'ProvisioningFailed', message }
    : { reason: 'CreateContainerError', message };
}

/** Codes of a PUT that say that the image is not there, or not for this identity. */
const OF_IMAGE = ['InaccessibleImage', 'InvalidImageRegistryIdentity'];

/**
 * By the answer to a PUT that was certainly not carried out. What depends on rights or on the resource group is nobody's final word
 * either: it waits, as for room.
 */
export function troubleOfPut(error: ServiceError): Trouble {
  const message = error.message.slice(0, LONGEST);
  if (!isKind(error, 'invalid')) return { reason: NO_ROOM, message };
  return OF_IMAGE.includes(error.code)
    ? { reason: 'ErrImagePull', message: `${message} (not found, or denied)` }
    : { reason: REFUSED, message };
}

/** Whether a PUT that ended so was certainly not carried out. */
export function isRefusal(error: ServiceError): boolean {
  if (error.code === 'ServiceUnavailable' && ROOM.test(error.message)) return true;
  return isKind(error, 'invalid', 'forbidden', 'throttled', 'conflict', 'not-found');
}

/** Whether an attempt that ended in this trouble is used up: not where the next one may have more luck. */
export function usesUp({ reason, message }: Trouble): boolean {
  if (reason === NO_ROOM) return false;
  return reason !== 'ErrImagePull' || /not found|unknown|denied|unauthorized|inaccessible|not exist/i.test(message);
}
