/** Container groups by SDKs that are loaded when the first one is asked for: most operators never do. */
import type { Clock } from '../../lib/clock.ts';
import type { AciControllerParts } from './controller.ts';
import type { ContainerGroups } from './groups.ts';

/** @param endpoint Azure Resource Manager as the configuration names it now */
export function createLazyGroupsIn(endpoint: () => string | undefined, clock: Clock): AciControllerParts['groupsIn'] {
  const loaded = new Map<string, Promise<AciControllerParts['groupsIn']>>();
  const load = async (place: string): Promise<ContainerGroups> => {
    const at = endpoint();
    const groupsIn =
      loaded.get(at ?? '') ?? import('./azure.ts').then(({ createGroupsIn }) => createGroupsIn(at, clock));
    loaded.set(at ?? '', groupsIn);
    return (await groupsIn)(place);
  };
  return (place) => ({
    get: async (name, signal) => (await load(place)).get(name, signal),
    list: async (signal) => (await load(place)).list(signal),
    put: async (name, group, signal) => (await load(place)).put(name, group, signal),
    stop: async (name, signal) => (await load(place)).stop(name, signal),
    remove: async (name, signal) => (await load(place)).remove(name, signal),
    tail: async (name, container, lines, signal) => (await load(place)).tail(name, container, lines, signal),
  });
}
