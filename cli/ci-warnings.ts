/** What the schema allows for CI types but is seldom wanted, one sentence each, with what to do. Pure. */
import { flagName, KANIKO_FLAGS, KANIKO_VERSION } from '../kaniko/flags.ts';
import type { TaskPolicy } from '../operator/config.ts';

/** What Pod Security baseline lets a container add. */
const BASELINE_CAPABILITIES: readonly string[] = [
  'AUDIT_WRITE',
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'FSETID',
  'KILL',
  'MKNOD',
  'NET_BIND_SERVICE',
  'SETFCAP',
  'SETGID',
  'SETPCAP',
  'SETUID',
  'SYS_CHROOT',
];

/** By this variable the sidecar finds the storage account; it takes no SAS. */
const CONNECTION_STRING = 'AZURE_STORAGE_CONNECTION_STRING';

type Policy = Pick<TaskPolicy, 'type' | 'ci' | 'podTemplate'>;

/** The warnings of a task type; none where it is no CI type. */
export function ciWarnings(policy: Policy): readonly string[] {
  const { type, ci } = policy;
  if (ci === undefined) return [];
  const place = `taskTypes.${type}.ci`;
  const beyond = ci.builder.capabilities.filter((name) => !BASELINE_CAPABILITIES.includes(name));
  return [
    ...(ci.namespace === undefined
      ? [
          `${place}.namespace is not set: the builder is root, so the operator's own namespace must admit Pod Security baseline, and with it all other tasks have less protection. Name a namespace of its own`,
        ]
      : []),
    ...(reachesStorage(policy)
      ? []
      : [
          `${place}.report has no ${CONNECTION_STRING}, by env or envFrom: reports and artifacts are not kept. Give it one by secretKeyRef; the chart does where storage.taskTypes names ${type}`,
        ]),
    ...ci.builder.flags.flatMap((flag) => flagWarning(`${place}.builder`, flagName(flag), ci.builder.image)),
    ...(beyond.length === 0
      ? []
      : [
          `${place}.builder.capabilities has ${beyond.join(', ')}, which Pod Security baseline does not admit: a namespace that enforces it takes no pod of the type. Remove ${beyond.length === 1 ? 'it' : 'them'}, or have the namespace enforce privileged`,
        ]),
  ];
}

/** Which keys an envFrom brings is not known: it is given the benefit of the doubt. */
function reachesStorage({ ci, podTemplate }: Policy): boolean {
  const { env = [], envFrom = [] } = ci?.report ?? {};
  return (
    env.some(({ name, value }) => name === CONNECTION_STRING && value !== '') ||
    envFrom.some(({ prefix = '' }) => CONNECTION_STRING.startsWith(prefix)) ||
    JSON.stringify(podTemplate ?? {}).includes(CONNECTION_STRING)
  );
}

/** Of Kaniko's flags alone, by the name of its image; which ones another builder takes is not known. */
function flagWarning(place: string, name: string, image: string): string[] {
  if (!/kaniko/i.test(image) || KANIKO_FLAGS.includes(name)) return [];
  const isOurs = image.includes(`:${KANIKO_VERSION}`);
  const unless = isOurs ? '' : `, unless ${image} is of a version that has it`;
  return [
    `${place}.flags has --${name}, which Kaniko ${KANIKO_VERSION} does not have: it refuses its arguments then, and no task of the type is built. Correct it or remove it${unless}`,
  ];
}
