/**
 * The one place that calls Azure Resource Manager. Every call has a deadline and is tried once: who calls decides whether to try again,
 * within the budgets of the subscription.
 */
import type { ContainerInstanceManagementClient, ContainerGroup as SdkGroup } from '@azure/arm-containerinstance';
import { callWithin } from '../../lib/call.ts';
import type { Clock } from '../../lib/clock.ts';
import { ifFound } from '../../lib/errors.ts';
import { toArmError } from './arm-errors.ts';
import type { Container, ContainerGroup, InitContainer } from './container-group.ts';

/** The container that the task runs in, as the service tells of it. Times are milliseconds since the epoch. */
export interface GroupTask {
  readonly state: 'waiting' | 'running' | 'terminated';
  readonly exitCode: number | undefined;
  /** Such as Completed, Error, OOMKilled; the service has no list of them. */
  readonly detail: string;
  readonly startedAt: number | undefined;
  readonly finishedAt: number | undefined;
  readonly restarts: number;
  /** How it ended before it was restarted: the first end is the one that counts. */
  readonly before: { readonly exitCode: number | undefined; readonly finishedAt: number | undefined } | undefined;
}

/** A group as the list has it: how it runs stands only on each of them. */
export interface ListedGroup {
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  /** Of the last operation: Pending, Creating, Succeeded, Failed, Repairing, Unhealthy, …; '' when it is not told. */
  readonly provisioning: string;
}

/** A group as it was read. */
export interface GroupRecord extends ListedGroup {
  /** Of the group's containers: Pending, Running, Stopped, Succeeded, Failed; '' when it is not told. */
  readonly state: string;
  /** Undefined while nothing is told of it. */
  readonly task: GroupTask | undefined;
  /** What befell the group and its containers, oldest first. */
  readonly events: readonly { readonly name: string; readonly message: string; readonly lastAt: number | undefined }[];
}

/**
 * Container groups of one resource group. Every method ends within the deadline or with `signal`, and throws a `ServiceError`: `throttled`
 * (a quota, code ContainerGroupQuotaReached, or too many calls), `conflict` (the operation before has not ended), `forbidden`, `invalid`,
 * `unavailable`, `unknown` (the call may have been carried out, or may yet be).
 */
export interface ContainerGroups {
  get(name: string, signal?: AbortSignal): Promise<GroupRecord | undefined>;
  list(signal?: AbortSignal): Promise<readonly ListedGroup[]>;
  /**
   * Asks for a group and ends when the service has taken the request, long before the group runs. A group of that name that is there is
   * started again: look first.
   */
  put(name: string, group: ContainerGroup, signal?: AbortSignal): Promise<void>;
  /** Ends the containers; the group stays and can be read. One that is not there is no error. */
  stop(name: string, signal?: AbortSignal): Promise<void>;
  /** Asks for the group's end. That it is gone tells only `get`: a delete can fail in silence. One that is not there is no error. */
  remove(name: string, signal?: AbortSignal): Promise<void>;
  /** The last lines that a container printed; '' when there are none. Of a stopped group at most 16 KB. */
  tail(name: string, container: string, lines: number, signal?: AbortSignal): Promise<string>;
}

/** The real service, by a client that repeats nothing (`retryOptions: { maxRetries: 0 }`). */
export function createContainerGroups(
  client: ContainerInstanceManagementClient,
  resourceGroup: string,
  taskContainer: string,
  clock: Clock,
  deadlineMs = 30_000,
): ContainerGroups {
  const ask = <T>(what: string, signal: AbortSignal | undefined, work: (abortSignal: AbortSignal) => Promise<T>) =>
    callWithin(clock, deadlineMs, signal, work, (error) => toArmError(error, what));

  const groups = client.containerGroups;
  return {
    get: (name, signal) =>
      ifFound(
        ask(`read the container group ${name}`, signal, async (abortSignal) =>
          groupRecord(await groups.get(resourceGroup, name, { abortSignal }), taskContainer),
        ),
      ),
    list: (signal) =>
      ask(`list the container groups of ${resourceGroup}`, signal, async (abortSignal) => {
        const all: ListedGroup[] = [];
        for await (const group of groups.listByResourceGroup(resourceGroup, { abortSignal })) all.push(listed(group));
        return all;
      }),
    put: (name, group, signal) =>
      ask(`create the container group ${name}`, signal, async (abortSignal) => {
        // The poller is left alone: it would end when the group runs.
        await groups.beginCreateOrUpdate(resourceGroup, name, toSdk(group), { abortSignal });
      }),
    stop: async (name, signal) =>
      void (await ifFound(
        ask(`stop the container group ${name}`, signal, (abortSignal) =>
          groups.stop(resourceGroup, name, { abortSignal }),
        ),
      )),
    remove: async (name, signal) =>
      void (await ifFound(
        ask(`delete the container group ${name}`, signal, async (abortSignal) => {
          await groups.beginDelete(resourceGroup, name, { abortSignal });
        }),
      )),
    tail: (name, container, lines, signal) =>
      ask(`read the log of the container group ${name}`, signal, async (abortSignal) => {
        const { content } = await client.containers.listLogs(resourceGroup, name, container, {
          tail: lines,
          abortSignal,
        });
        return content ?? '';
      }),
  };
}

/** The SDK has the fields of `properties` one level higher. */
function toSdk({ properties, ...group }: ContainerGroup): SdkGroup {
  const { containers, initContainers, ...rest } = properties;
  const flat = <T extends Container | InitContainer>({ name, properties: own }: T) => ({ name, ...own });
  // Its types take mutable lists; nothing changes them.
  return structuredClone({
    ...group,
    ...rest,
    containers: containers.map(flat),
    ...(initContainers === undefined ? {} : { initContainers: initContainers.map(flat) }),
  }) as unknown as SdkGroup;
}

function listed({ name, tags, provisioningState }: SdkGroup): ListedGroup {
  return { name: name ?? '', tags: tags ?? {}, provisioning: provisioningState ?? '' };
}

function groupRecord(group: SdkGroup, taskContainer: string): GroupRecord {
  const container = group.containers.find(({ name }) => name === taskContainer);
  const { currentState, previousState, restartCount, events = [] } = container?.instanceView ?? {};
  const state = currentState?.state?.toLowerCase();
  const of = [...(group.instanceView?.events ?? []), ...events];
  return {
    ...listed(group),
    state: group.instanceView?.state ?? '',
    task:
      state === 'waiting' || state === 'running' || state === 'terminated'
        ? {
            state,
            exitCode: currentState?.exitCode,
            detail: currentState?.detailStatus ?? '',
            startedAt: currentState?.startTime?.getTime(),
            finishedAt: currentState?.finishTime?.getTime(),
            restarts: restartCount ?? 0,
            before:
              previousState?.state === undefined
                ? undefined
                : { exitCode: previousState.exitCode, finishedAt: previousState.finishTime?.getTime() },
          }
        : undefined,
    events: of
      .map(({ name = '', message = '', lastTimestamp }) => ({ name, message, lastAt: lastTimestamp?.getTime() }))
      .toSorted((a, b) => (a.lastAt ?? 0) - (b.lastAt ?? 0)),
  };
}
