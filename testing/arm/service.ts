/**
 * A stand-in for Azure Resource Manager and Azure Container Instances. Each request and each answer is checked against the official
 * description; what that does not limit is limited by rules.ts. It was never compared with the service itself.
 */
import { type Clock, iso } from '#/lib/clock.ts';
import { faultsOf } from '#/testing/arm/description.ts';
import { type Behaviour, ORDINARY, type Standing, standingOf } from '#/testing/arm/life.ts';
import { type GroupBody, refusalOf } from '#/testing/arm/rules.ts';

/** An answer in place of the service's own. */
export interface ArmFault {
  readonly status: number;
  readonly code: string;
  readonly message?: string;
  readonly retryAfterSeconds?: number;
  /** The request has its effect all the same. */
  readonly takesEffect?: boolean;
  /** The same, so many milliseconds later. */
  readonly takesEffectAfterMs?: number;
  /** No answer ever comes. */
  readonly hangs?: boolean;
  /** The whole answer, in place of an error. */
  readonly body?: object;
}

/** A request that came. */
export interface ArmRequest {
  /** put, get, delete, stop, list or logs. */
  readonly operation: string;
  /** '' for a list. */
  readonly group: string;
  readonly at: number;
}

/** What a stand-in is started with. */
export interface ArmOptions {
  readonly clock: Clock;
  /** What becomes of a group, told by its name and body when it is put. */
  readonly behaviour?: (name: string, body: GroupBody) => Behaviour;
  /** Runs a group's task as a program of this machine, in place of a behaviour; undefined for one that has a behaviour. */
  readonly program?: (name: string, body: GroupBody) => RunningProgram | undefined;
  /** Groups that may be there at once. */
  readonly mostGroups?: number;
  /** How long a delete takes. */
  readonly deletesMs?: number;
}

/** A task that runs as a program. */
export interface RunningProgram {
  readonly ended: Promise<{ readonly exitCode: number; readonly log: string }>;
  /** Ends it at once. */
  readonly stop: () => void;
}

/** A stand-in. */
export interface ArmService {
  readonly requests: readonly ArmRequest[];
  /** Names of the groups that are there. */
  readonly groups: readonly string[];
  /** The body that a group was put with last. */
  bodyOf(name: string): GroupBody | undefined;
  /** Names of groups that were put while one of the name was there: its task was started again. Must stay empty. */
  readonly overwritten: readonly string[];
  /** How often a group of this name was made to run. */
  starts(name: string): number;
  /** Groups whose task runs now. */
  alive(): readonly string[];
  /** Decides about each request; undefined lets the service answer. */
  use(script: ((request: ArmRequest) => ArmFault | undefined) | undefined): void;
  /** How many requests the script has decided about. */
  faults(): number;
  /** Somebody else deletes a group. */
  vanish(name: string): void;
  /** Somebody else makes a group. */
  plant(name: string, body: GroupBody, behaviour?: Partial<Behaviour>): void;
  /** Answers a request. `url`: path and query. */
  handle(method: string, url: string, text: string): Answer;
}

interface Group {
  readonly body: GroupBody;
  readonly behaviour: Behaviour;
  readonly program?: RunningProgram | undefined;
  readonly putAt: number;
  readonly stoppedAt: number | undefined;
  readonly goneAt: number | undefined;
}

const API_VERSION = '2023-05-01';
const GROUPS =
  /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/Microsoft\.ContainerInstance\/containerGroups$/;
const GROUP =
  /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/Microsoft\.ContainerInstance\/containerGroups\/([^/]+)(?:\/(stop|containers\/([^/]+)\/logs))?$/;

/** Of a program, as long as it runs. */
const RUNS_ON: Behaviour = { ...ORDINARY, createsMs: 0, startsMs: 0, runsMs: undefined };

/** Makes one without any group. */
export function createArm({
  clock,
  behaviour = () => ORDINARY,
  program: programOf = () => undefined,
  mostGroups = 100,
  deletesMs = 0,
}: ArmOptions): ArmService {
  const groups = new Map<string, Group>();
  const starts = new Map<string, number>();
  const requests: ArmRequest[] = [];
  const overwritten: string[] = [];
  let faults = 0;
  let script: ((request: ArmRequest) => ArmFault | undefined) | undefined;

  const there = (name: string): Group | undefined => {
    const group = groups.get(name);
    if (group?.goneAt === undefined || group.goneAt > clock.now()) return group;
    groups.delete(name);
    return undefined;
  };
  const standing = ({ behaviour: own, putAt, stoppedAt }: Group): Standing =>
    standingOf(own, putAt, clock.now() - putAt, stoppedAt === undefined ? undefined : stoppedAt - putAt);
  const names = () => [...groups.keys()].filter((name) => there(name) !== undefined);

  function put(name: string, body: unknown): Answer {
    const refusal = refusalOf(name, body);
    if (refusal !== undefined) return failed(400, refusal.code, refusal.message);
    const before = there(name);
    if (before !== undefined && isTransitioning(before, standing(before)))
      return failed(409, 'ContainerGroupTransitioning', `the container group '${name}' is still transitioning`);
    if (before === undefined && names().length >= mostGroups)
      return failed(
        409,
        'ContainerGroupQuotaReached',
        `Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota 'ContainerGroups' exceeded in region 'here'. Limit: '${mostGroups}', Usage: '${names().length}' Requested: '1'.`,
      );
    if (before !== undefined) overwritten.push(name);
    before?.program?.stop();
    const group: Group = {
      body: body as GroupBody,
      behaviour: behaviour(name, body as GroupBody),
      program: programOf(name, body as GroupBody),
      putAt: clock.now(),
      stoppedAt: undefined,
      goneAt: undefined,
    };
    groups.set(name, group.program === undefined ? group : { ...group, behaviour: RUNS_ON });
    void group.program?.ended.then(({ exitCode, log }) => {
      const now = there(name);
      if (now === undefined || now.program !== group.program) return;
      const runsMs = clock.now() - group.putAt;
      const detail = exitCode === 0 ? 'Completed' : 'Error';
      groups.set(name, { ...now, behaviour: { ...RUNS_ON, runsMs, exitCode, detail, log } });
    });
    starts.set(name, (starts.get(name) ?? 0) + 1);
    return answered(before === undefined ? 201 : 200, resourceOf(name, there(name) as Group));
  }

  function resourceOf(name: string, group: Group, listed = false): object {
    const at = standing(group);
    const { properties, ...rest } = group.body;
    const view = ({ startTime, finishTime, ...state }: Standing['current']) => ({
      ...state,
      ...(startTime === undefined ? {} : { startTime: iso(startTime) }),
      ...(finishTime === undefined ? {} : { finishTime: iso(finishTime) }),
    });
    const hidden = listed || group.behaviour.isSilent;
    // What is secure is shown to nobody.
    const shown = <T extends GroupBody['properties']['containers'][number]>(container: T, task: boolean) => ({
      ...container,
      properties: {
        ...container.properties,
        environmentVariables: (container.properties.environmentVariables ?? []).map(({ name: variable, value }) => ({
          name: variable,
          ...(value === undefined ? {} : { value }),
        })),
        ...(hidden || !task
          ? {}
          : {
              instanceView: {
                restartCount: at.restartCount,
                currentState: view(at.current),
                ...(at.previous === undefined ? {} : { previousState: view(at.previous) }),
                events: [],
              },
            }),
      },
    });
    return {
      ...rest,
      id: `/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerInstance/containerGroups/${name}`,
      name,
      type: 'Microsoft.ContainerInstance/containerGroups',
      properties: {
        ...properties,
        provisioningState: at.provisioningState,
        containers: properties.containers.map((container) => shown(container, true)),
        ...(properties.initContainers === undefined
          ? {}
          : { initContainers: properties.initContainers.map((container) => shown(container, false)) }),
        ...(properties.imageRegistryCredentials === undefined
          ? {}
          : {
              imageRegistryCredentials: properties.imageRegistryCredentials.map((credential) =>
                Object.fromEntries(Object.entries(credential).filter(([key]) => key !== 'password')),
              ),
            }),
        ...(properties.volumes === undefined
          ? {}
          : {
              volumes: properties.volumes.map(({ secret, ...volume }) => (secret ? { ...volume, secret: {} } : volume)),
            }),
        ...(hidden ? {} : { instanceView: { events: [...group.behaviour.events], state: at.state } }),
      },
    };
  }

  function answerTo(method: string, path: string, body: unknown): readonly [ArmRequest, () => Answer] {
    const request = (operation: string, group: string): ArmRequest => ({ operation, group, at: clock.now() });
    if (GROUPS.test(path) && method === 'GET')
      return [
        request('list', ''),
        () =>
          answered(
            200,
            { value: names().map((name) => resourceOf(name, there(name) as Group, true)) },
            'ContainerGroupListResult',
          ),
      ];
    const [, , , name = '', action, container] = GROUP.exec(path) ?? [];
    const group = () => there(name);
    const missing = () =>
      failed(
        404,
        'ResourceNotFound',
        `The Resource 'Microsoft.ContainerInstance/containerGroups/${name}' was not found.`,
      );
    if (action === 'stop' && method === 'POST')
      return [
        request('stop', name),
        () => {
          const found = group();
          if (found === undefined) return missing();
          found.program?.stop();
          groups.set(name, { ...found, stoppedAt: found.stoppedAt ?? clock.now() });
          return { status: 204 };
        },
      ];
    if (container !== undefined && method === 'GET')
      return [
        request('logs', name),
        () => {
          const found = group();
          if (found === undefined) return missing();
          const { current, previous } = standing(found);
          if (current.state === 'Waiting')
            return failed(404, 'ContainerLogNotAvailable', 'the container has not started');
          const isOver = current.state === 'Terminated' || previous !== undefined;
          return answered(200, { content: isOver ? found.behaviour.log.slice(-16_384) : '' }, 'Logs');
        },
      ];
    switch (method) {
      case 'PUT':
        return [request('put', name), () => put(name, body)];
      case 'GET':
        return [
          request('get', name),
          () => {
            const found = group();
            return found === undefined ? missing() : answered(200, resourceOf(name, found));
          },
        ];
      case 'DELETE':
        return [
          request('delete', name),
          () => {
            const found = group();
            if (found === undefined) return { status: 204 };
            found.program?.stop();
            const goneAt = found.goneAt ?? clock.now() + deletesMs;
            groups.set(name, { ...found, stoppedAt: found.stoppedAt ?? goneAt, goneAt });
            return answered(200, resourceOf(name, found));
          },
        ];
    }
    return [request(`${method} ${path}`, ''), () => failed(405, 'MethodNotAllowed', `${method} ${path}`)];
  }

  return {
    requests,
    overwritten,
    get groups() {
      return names();
    },
    bodyOf: (name) => there(name)?.body,
    starts: (name) => starts.get(name) ?? 0,
    alive: () => names().filter((name) => standing(there(name) as Group).isAlive),
    use(next) {
      script = next;
    },
    faults: () => faults,
    vanish: (name) => void groups.delete(name),
    plant: (name, body, own = {}) =>
      void groups.set(name, {
        body,
        behaviour: { ...ORDINARY, ...own },
        putAt: clock.now(),
        stoppedAt: undefined,
        goneAt: undefined,
      }),
    handle(method, url, text) {
      const { pathname, searchParams } = new URL(url, 'http://any');
      const [asked, act] = answerTo(method, decodeURIComponent(pathname), text === '' ? undefined : JSON.parse(text));
      requests.push(asked);
      const fault = script?.(asked);
      if (fault !== undefined) faults++;
      const own = fault === undefined || fault.takesEffect === true ? act() : undefined;
      if (fault?.takesEffectAfterMs !== undefined)
        void clock.sleep(fault.takesEffectAfterMs, new AbortController().signal).then(act);
      const version = searchParams.get('api-version');
      if (fault?.hangs === true) return { status: 0, hangs: true };
      if (fault?.body !== undefined) return { status: fault.status, body: fault.body };
      if (fault !== undefined)
        return failed(fault.status, fault.code, fault.message ?? 'injected', fault.retryAfterSeconds);
      return version === API_VERSION
        ? (own as Answer)
        : failed(400, 'InvalidApiVersionParameter', `the api-version '${version}'`);
    },
  };
}

/** An answer. Status 0: none comes; the connection ends, or `hangs`. */
export interface Answer {
  readonly status: number;
  readonly hangs?: boolean;
  readonly body?: object;
  readonly retryAfterSeconds?: number | undefined;
}

/** An answer that fits the description, or an error of ours. */
function answered(status: number, body: object, definition = 'ContainerGroup'): Answer {
  const [fault] = faultsOf(definition, 'response', body);
  if (fault !== undefined) throw new Error(`the stand-in's own answer does not fit ${definition}: ${fault}`);
  return { status, body };
}

function failed(status: number, code: string, message: string, retryAfterSeconds?: number): Answer {
  return { status, body: { error: { code, message } }, retryAfterSeconds };
}

/** While an operation is under way no other is taken. */
function isTransitioning({ goneAt }: Group, { provisioningState }: Standing): boolean {
  return goneAt !== undefined || provisioningState === 'Pending' || provisioningState === 'Creating';
}
